//! A publisher's folder in which a crash cut the birth of a repository.

use std::path::Path;

use super::{NOW, birth, compatible, keys, seed};
use crate::durable_file::tests::watch;
use crate::repository::{Birth, Draft, PublisherFolder};

fn signed(birth: &Birth) -> Draft {
    let mut draft = Draft::begin(birth, NOW).unwrap();
    draft.sign(&keys()).unwrap();
    draft
}

fn publisher(folder: &Path) -> PublisherFolder {
    fs_err::create_dir(folder.join("metadata")).unwrap();
    PublisherFolder::at(folder)
}

#[test]
fn a_birth_that_was_cut_is_begun_again() {
    let whole = tempfile::tempdir().unwrap();
    let born = publisher(whole.path());
    let seen = watch(&born.metadata(), || born.keep(&signed(&birth())).unwrap());
    let order: Vec<_> = seen.into_iter().map(|(name, _)| name).collect();
    assert_eq!(order.len(), 3, "{order:?}");
    for cut in 0..order.len() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path());
        for name in &order[..cut] {
            let to = publisher.metadata().join(name);
            fs_err::copy(born.metadata().join(name), to).unwrap();
        }
        assert!(!publisher.is_begun(), "cut after {:?}", &order[..cut]);
        assert!(publisher.draft().unwrap().state().is_none());
        // The second time for other compatibles.
        let compatibles = [(compatible("other"), seed("other"))].into();
        publisher.keep(&signed(&Birth { compatibles, ..birth() })).unwrap();
        let draft = publisher.draft().unwrap();
        assert_eq!((publisher.is_begun(), draft.compatibles()), (true, vec![compatible("other")]));
    }
}
