use proptest::prelude::*;

use super::world::{Device, World};
use crate::trust::{Client, Reply, Step};

/// The files of a check, each with what comes before it honest.
const FILES: [&str; 5] =
    ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", "1.demo.json"];

/// A client that asks for one of the files, and that file.
struct Asking {
    client: Client,
    honest: Vec<u8>,
}

impl Asking {
    fn for_file(file: &str) -> Self {
        let mut world = World::new();
        world.next_root(|_| ());
        let files = world.files();
        let mut client = Device::new().client();
        loop {
            let Step::Fetch { path, .. } = client.next() else { panic!("{file} is not asked for") };
            if path == file {
                return Self { client, honest: files[file].clone() };
            }
            client.feed(files.get(&path).cloned().map_or(Reply::NotFound, Reply::Bytes)).unwrap();
        }
    }

    fn takes(&self, bytes: Vec<u8>) -> bool {
        self.client.clone().feed(Reply::Bytes(bytes)).is_ok()
    }
}

thread_local! {
    static ASKING: Vec<Asking> = FILES.map(Asking::for_file).into_iter().collect();
}

fn with<T>(file: usize, test: impl FnOnce(&Asking) -> T) -> T {
    ASKING.with(|asking| test(&asking[file]))
}

#[test]
fn unchanged_files_are_taken() {
    for file in FILES {
        let asking = Asking::for_file(file);
        assert!(asking.takes(asking.honest.clone()), "{file}");
    }
}

/// Every byte of every file, with its lowest bit, its case bit and its highest bit flipped.
#[test]
fn no_byte_of_any_file_can_be_changed() {
    for file in FILES {
        let asking = Asking::for_file(file);
        for at in 0..asking.honest.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = asking.honest.clone();
                changed[at] ^= flip;
                assert!(!asking.takes(changed), "{file}: byte {at} ^ {flip:#x}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_byte_can_be_replaced(file in 0..FILES.len(), at: prop::sample::Index, by: u8) {
        let (taken, same) = with(file, |asking| {
            let mut changed = asking.honest.clone();
            let at = at.index(changed.len());
            changed[at] = by;
            let same = changed == asking.honest;
            (asking.takes(changed), same)
        });
        prop_assert_eq!(taken, same);
    }

    #[test]
    fn no_file_can_be_cut(file in 0..FILES.len(), at: prop::sample::Index) {
        let taken = with(file, |asking| {
            asking.takes(asking.honest[..at.index(asking.honest.len())].to_vec())
        });
        prop_assert!(!taken);
    }

    #[test]
    fn arbitrary_bytes_are_refused(
        file in 0..FILES.len(),
        noise in prop::collection::vec(any::<u8>(), 0..512),
    ) {
        prop_assert!(!with(file, |asking| asking.takes(noise)));
    }
}
