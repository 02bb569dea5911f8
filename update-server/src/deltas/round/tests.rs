use tempfile::TempDir;

use super::*;
use crate::app::Settings;
use crate::data_folder::DataFolder;
use crate::serve;

async fn app() -> (TempDir, App) {
    let root = tempfile::tempdir().unwrap();
    let folder = DataFolder::at(&root.path().join("data"));
    folder.init(None, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let app = serve::open(&folder, Settings::default()).await.unwrap();
    (root, app)
}

const PAIR: Pair = Pair { to: Hash::from_bytes([2; 32]), from: Hash::from_bytes([1; 32]) };

/// As a delta begins.
const MADE: &str = "SSDELTA4";

/// Puts a file under the name of the delta.
async fn keep(app: &App, content: &str) -> Hash {
    let mut incoming = app.payloads.receive().await.unwrap();
    fs_err::write(incoming.path(), content).unwrap();
    let (_, sha256) = incoming.measure().await.unwrap();
    app.payloads.keep(incoming, sha256, &file(PAIR)).await.unwrap();
    sha256
}

async fn is_there(app: &App) -> bool {
    app.payloads.open(&file(PAIR)).await.unwrap().is_some()
}

#[tokio::test]
async fn what_a_publisher_uploads_during_a_round_stays() {
    let (_root, app) = app().await;
    let maker = Maker::of(&app, NonZero::<usize>::MIN);
    let sha256 = keep(&app, "made").await;
    maker.know(PAIR, Standing::Made(4), Some(sha256)).await.unwrap();
    keep(&app, "uploaded").await;
    maker.let_go(PAIR).await.unwrap();
    assert!(is_there(&app).await);
    keep(&app, "made").await;
    maker.let_go(PAIR).await.unwrap();
    assert!(!is_there(&app).await, "what was made has to go");
    assert_eq!(app.store.deltas().await.unwrap()[0].standing, Standing::Unkept(4));
}

#[tokio::test]
async fn a_lost_manifest_makes_no_delta_one_of_a_withdrawn_release() {
    let (_root, app) = app().await;
    let mut maker = Maker::of(&app, NonZero::<usize>::MIN);
    let sha256 = keep(&app, MADE).await;
    maker.know(PAIR, Standing::Made(4), Some(sha256)).await.unwrap();
    maker.lost.insert(Hash::from_bytes([9; 32]));
    assert_eq!(maker.records(&Manifests::new()).await.unwrap().len(), 1);
    assert!(is_there(&app).await);
    // The next look at the releases finds none whose manifest is lost.
    let manifests = maker.manifests().await.unwrap();
    assert!(maker.records(&manifests).await.unwrap().is_empty());
    assert!(!is_there(&app).await);
}

/// Devices that were updated too make no use of what was made before.
#[tokio::test]
async fn a_delta_of_an_older_format_is_made_anew() {
    let (_root, app) = app().await;
    let mut maker = Maker::of(&app, NonZero::<usize>::MIN);
    // So that no release is known, and none taken for withdrawn.
    maker.lost.insert(Hash::from_bytes([9; 32]));
    for (content, is_kept) in [("SSDELTA3", false), ("", false), (MADE, true)] {
        let sha256 = keep(&app, content).await;
        maker.know(PAIR, Standing::Made(8), Some(sha256)).await.unwrap();
        let records = maker.records(&Manifests::new()).await.unwrap();
        assert_eq!((records.contains_key(&PAIR), is_there(&app).await), (is_kept, is_kept));
    }
}
