use super::Complaint;
use crate::chain;
use crate::client::NoAnchor;

/// What keeps this boot from being updated again whatever its checks say: found
/// when the device is opened, and true until the next boot. `boot` is what the
/// initramfs says about it (`/run/seesaw/boot`), `missing` what signatures cannot be
/// judged without.
pub fn standing(boot: &str, missing: Option<&NoAnchor>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if boot.lines().any(|line| line == "STATE_MOUNTED=volatile") {
        let problem = "STATE could not be mounted: journal and configuration are not at hand";
        complaints.push(Complaint::new("state", problem.to_owned()));
    }
    let untrusting =
        |missing: &NoAnchor| format!("it could never verify a release: {}", chain(missing));
    complaints.extend(missing.map(|missing| Complaint::new("trust", untrusting(missing))));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_that_could_never_be_updated_again_is_not_healthy() {
        const PERSISTENT: &str = "SLOT=B\nSTATE_MOUNTED=persistent\n";
        let nameless = Some(&NoAnchor::Compatible);
        for (boot, missing, complaints) in [
            (PERSISTENT, None, &[][..]),
            // An image file, of which nothing is said.
            ("", None, &[]),
            ("SLOT=B\nSTATE_MOUNTED=volatile\n", None, &["state"]),
            (PERSISTENT, nameless, &["trust"]),
            ("STATE_MOUNTED=volatile", nameless, &["state", "trust"]),
        ] {
            let found = standing(boot, missing);
            let names: Vec<String> = found
                .iter()
                .filter_map(|one| Some(one.to_string().split_once(": ")?.0.to_owned()))
                .collect();
            assert_eq!(names, complaints, "{boot:?} {missing:?}");
        }
        let told = standing(PERSISTENT, nameless)[0].to_string();
        assert!(told.contains("(SEESAW_COMPATIBLE in its .osrel)"), "what is missing: {told}");
    }
}
