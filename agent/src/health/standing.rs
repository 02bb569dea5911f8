use super::Complaint;

/// What keeps this boot from being updated again whatever its checks say: found
/// when the device is opened, and true until the next boot. `boot` is what the
/// initramfs says about it (`/run/seesaw/boot`), `anchored` whether the image has
/// what signatures are judged by.
pub fn standing(boot: &str, anchored: bool) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if boot.lines().any(|line| line == "STATE_MOUNTED=volatile") {
        let problem = "STATE could not be mounted: journal and configuration are not at hand";
        complaints.push(Complaint::new("state", problem.to_owned()));
    }
    if !anchored {
        let problem = "the image lacks /usr/lib/seesaw/1.root.json, or does not say which devices \
            it is for: it could never verify a release";
        complaints.push(Complaint::new("trust", problem.to_owned()));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_that_could_never_be_updated_again_is_not_healthy() {
        const PERSISTENT: &str = "SLOT=B\nSTATE_MOUNTED=persistent\n";
        for (boot, anchored, complaints) in [
            (PERSISTENT, true, &[][..]),
            // An image file, of which nothing is said.
            ("", true, &[]),
            ("SLOT=B\nSTATE_MOUNTED=volatile\n", true, &["state"]),
            (PERSISTENT, false, &["trust"]),
            ("STATE_MOUNTED=volatile", false, &["state", "trust"]),
        ] {
            let found = standing(boot, anchored);
            let names: Vec<String> = found
                .iter()
                .filter_map(|one| Some(one.to_string().split_once(": ")?.0.to_owned()))
                .collect();
            assert_eq!(names, complaints, "{boot:?} {anchored}");
        }
    }
}
