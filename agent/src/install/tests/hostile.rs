//! Payloads that take over their decoder, as if zstd had a hole: what runs in it then can change
//! neither target nor anything else, nor stop the stage, and the segment comes from elsewhere.

use payload_tools::confined::DecodeError;
use payload_tools::confined::hostile::taking_over;
use payload_tools::format::SEGMENT;

use super::fixture::{KERNEL_AT, ROOT_AT, TestRelease};
use super::media::{Disk, stage_from_server};
use super::server::Fault;
use crate::install::InstallError;

type Noticed = fn(&DecodeError) -> bool;

/// What it does, and how it is noticed.
const ACTS: [(&str, Noticed); 13] = [
    ("open", died),
    ("socket", died),
    ("exec", died),
    ("fork", died),
    ("kill", died),
    ("ptrace", died),
    ("allocate", died),
    ("read standard error", died),
    ("write standard output", died),
    ("end", died),
    ("nonsense", |error| matches!(error, DecodeError::Nonsense)),
    ("too many words", |error| matches!(error, DecodeError::Nonsense)),
    ("never return", |error| matches!(error, DecodeError::TimedOut(_))),
];

fn died(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Died(_))
}

/// One of the frames of the root; the first request is for its seek table.
fn once(act: &str) -> [Fault; 2] {
    [Fault::None, Fault::EndsWith(taking_over(act))]
}

fn nothing_else_is_there(disk: &Disk) {
    let entries = fs_err::read_dir(disk.folder.path()).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["disk"]);
}

#[test]
fn what_takes_over_a_decoder_once_delays_one_segment() {
    let acts = ACTS.iter().map(|(act, _)| *act).chain(["lie"]);
    for act in acts {
        let (release, disk) = (TestRelease::new(1), Disk::new());
        stage_from_server(&release, &disk, &once(act)).unwrap();
        disk.assert_is(&release.expected(&disk.before));
        nothing_else_is_there(&disk);
    }
}

#[test]
fn what_takes_over_every_decoder_is_told_and_not_written() {
    // Each time-out takes its time, and one has been seen.
    for (act, noticed) in &ACTS[..ACTS.len() - 1] {
        let (release, disk) = (TestRelease::new(1), Disk::new());
        let faults: Vec<Fault> =
            [Fault::None].into_iter().chain(vec![once(act)[1].clone(); 20]).collect();
        let error = stage_from_server(&release, &disk, &faults).unwrap_err();
        let InstallError::Decode { source, .. } = &error else { panic!("{act}: {error}") };
        assert!(noticed(source), "{act}: {source}");
        let now = disk.now();
        assert!(now[..KERNEL_AT as usize] == disk.before[..KERNEL_AT as usize], "{act}");
        // The second is all zero and comes from nowhere.
        for segment in [0, 2] {
            let at = ROOT_AT as usize + segment * SEGMENT;
            assert!(now[at..][..SEGMENT] == disk.before[at..][..SEGMENT], "{act}: {segment}");
        }
        assert_eq!(disk.kernel_head(), [0; 4096], "{act}");
        nothing_else_is_there(&disk);
    }
}
