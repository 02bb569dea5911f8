use std::collections::HashMap;
use std::sync::mpsc;

use jiff::SignedDuration;
use payload_tools::format::{Hash, Role, Salt};

use super::answer::ContentRange;
use super::*;
use crate::config::Budget;
use crate::install::tests::server::{Fault, Server};
use tokio::sync::watch;

const PATIENCE: Patience = Patience {
    fruitless_attempts_max: 3,
    pause: Duration::ZERO,
    silence_max: Duration::from_millis(200),
    pace: Duration::from_secs(60),
    least: 1,
};

fn image() -> Image {
    let root = Hash::from_bytes([7; 32]);
    Image { role: Role::Root, size: 4096, salt: Salt::default(), root }
}

fn document() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn server() -> Server {
    let base = format!("/v1/images/{}", image().root);
    let levels = document()[..8192].to_vec();
    let documents = [(format!("{base}/full"), document()), (format!("{base}/levels"), levels)];
    Server::start(HashMap::from(documents))
}

fn source(server: &Server) -> HttpSource {
    patient_source(server, PATIENCE)
}

fn patient_source(server: &Server, patience: Patience) -> HttpSource {
    let base = format!("http://{}", server.address).parse().unwrap();
    // A provider may have been installed by another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpSource::new(base, Client::builder(), patience).unwrap()
}

/// Reads `range` of the full payload while the server does `faults`.
fn read(server: &Server, range: Range<u64>, faults: &[Fault]) -> Result<Vec<u8>, SourceError> {
    server.fault("/full", faults);
    let source = source(server);
    let mut bytes = vec![0; (range.end - range.start) as usize];
    source.open(&image(), range)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_range_is_read_and_the_tail_tells_the_length() {
    let server = server();
    assert_eq!(read(&server, 1000..9000, &[]).unwrap(), document()[1000..9000]);
    let tail = source(&server).tail(&image(), 100).unwrap();
    assert_eq!((tail.total, &tail.bytes[..]), (400_000, &document()[399_900..]));
}

#[test]
fn levels_are_read_whole_and_must_have_their_length() {
    let server = server();
    assert_eq!(source(&server).levels(&image(), 8192).unwrap(), document()[..8192]);
    assert!(source(&server).levels(&image(), 0).unwrap().is_empty());
    let error = source(&server).levels(&image(), 4096).unwrap_err();
    assert!(matches!(error, SourceError::WrongLength { expected: 4096, got: 8192, .. }), "{error}");
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let server = server();
    let faults = [Fault::CutAfter(100), Fault::CutAfter(0), Fault::CutAfter(50_000)];
    assert_eq!(read(&server, 0..300_000, &faults).unwrap(), document()[..300_000]);
    let log = server.log();
    assert_eq!(log.len(), 4, "{log:#?}");
    assert!(log[0].ends_with("/full 0-299999") && log[2].ends_with("/full 100-299999"), "{log:#?}");
}

#[test]
fn passing_trouble_is_asked_again() {
    let server = server();
    let faults = [Fault::Status(503), Fault::Silence];
    assert_eq!(read(&server, 0..100, &faults).unwrap(), document()[..100]);
}

#[test]
fn progress_renews_patience_and_nothing_else_does() {
    let server = server();
    let faults: Vec<Fault> = (0..20).map(|_| Fault::CutAfter(1000)).collect();
    assert_eq!(read(&server, 0..100_000, &faults).unwrap(), document()[..100_000]);
    let error = read(&server, 0..100, &vec![Fault::CutAfter(0); 3]).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { attempts: 3, .. }), "{error}");
}

#[test]
fn a_server_that_drips_is_left_after_a_while() {
    // Every wait is a pace of its own.
    let patience = Patience { pace: Duration::ZERO, least: 1000, ..PATIENCE };
    let read = |faults: &[Fault], len: usize| {
        let server = server();
        server.fault("/full", faults);
        let source = patient_source(&server, patience);
        let mut bytes = vec![0; len];
        source.open(&image(), 0..len as u64)?.read_exact(&mut bytes).map(|()| bytes)
    };
    let drip = Fault::CutAfter(10);
    let error = read(&vec![drip.clone(); 3], 300_000).unwrap_err();
    assert!(matches!(error, SourceError::Stalled { attempts: 3, .. }), "{error}");
    let now_and_then = [drip.clone(), drip.clone(), Fault::CutAfter(2000), drip.clone(), drip];
    assert_eq!(read(&now_and_then, 300_000).unwrap(), document()[..300_000]);
}

/// Each row reads so much of a range while the server does this, and hangs up then.
#[test]
fn what_came_counts_used_or_not_and_what_was_on_its_way_to_one_that_hung_up() {
    let budget = Budget { bytes: 1 << 20, period: SignedDuration::from_hours(24) };
    let settings = DownloadSettings { budget: Some(budget), ..DownloadSettings::default() };
    let dripping = Patience { pace: Duration::ZERO, least: 1000, ..PATIENCE };
    let broken = [Fault::CutAfter(100), Fault::CutAfter(0), Fault::CutAfter(0), Fault::CutAfter(0)];
    let rows: [(&str, &[Fault], Patience, usize, u64); 5] = [
        ("all of it", &[], PATIENCE, 300_000, 300_000),
        ("resumed", &[Fault::CutAfter(100)], PATIENCE, 300_000, 300_000),
        ("hung up", &[], PATIENCE, 10, 300_000),
        ("broken for good", &broken, PATIENCE, 300_000, 100),
        ("dripping", &vec![Fault::CutAfter(10); 3], dripping, 300_000, 30),
    ];
    for (name, faults, patience, len, spent) in rows {
        let server = server();
        server.fault("/full", faults);
        let allowance = Arc::new(Allowance::open(settings, None, None));
        let source = patient_source(&server, patience).within(allowance.clone());
        let mut reader = source.open(&image(), 0..300_000).unwrap();
        let _ended = reader.read_exact(&mut vec![0; len]);
        drop(reader);
        assert_eq!(allowance.spent(), spent, "{name}");
        let _end = source.tail(&image(), 100).unwrap();
        assert_eq!(allowance.spent(), spent + 100, "{name}");
    }
}

/// Each row waits for something else, and for hours.
#[test]
fn the_word_ends_every_wait() {
    const HOUR: Duration = Duration::from_secs(3600);
    let rows: [(&str, &[Fault], Patience, Option<u64>); 3] = [
        ("the rate", &[], PATIENCE, Some(1)),
        ("an answer", &[Fault::Silence], Patience { silence_max: HOUR, ..PATIENCE }, None),
        (
            "the next attempt",
            &[Fault::Status(503), Fault::Status(503)],
            Patience { pause: HOUR, ..PATIENCE },
            None,
        ),
    ];
    for (name, faults, patience, bytes_per_second) in rows {
        let server = server();
        server.fault("/full", faults);
        let settings = DownloadSettings { bytes_per_second, ..DownloadSettings::default() };
        let word = watch::Sender::new(false);
        let source = patient_source(&server, patience)
            .within(Arc::new(Allowance::open(settings, None, None)))
            .until(StopWord::of(&word));
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let read = source.open(&image(), 0..300_000);
            let read = read.and_then(|mut reader| reader.read_exact(&mut vec![0; 300_000]));
            done.send(read).unwrap();
        });
        while server.log().len() < faults.len().max(1) {
            std::thread::yield_now();
        }
        word.send_replace(true);
        let read = ended.recv_timeout(Duration::from_secs(20));
        assert!(matches!(read, Ok(Err(SourceError::Stopped { .. }))), "{name}: {read:?}");
    }
}

#[test]
fn answers_that_are_no_range_are_named() {
    type Expected = fn(&SourceError) -> bool;
    let cases: [(&[Fault], Expected); 7] = [
        (&[Fault::IgnoreRange], |error| matches!(error, SourceError::WholeInsteadOfRange { .. })),
        (&[Fault::Portal], |error| matches!(error, SourceError::WebPage { .. })),
        (&[Fault::Shifted], |error| matches!(error, SourceError::WrongRange { .. })),
        (&[Fault::Status(403)], |error| matches!(error, SourceError::Status { status: 403, .. })),
        (&[Fault::Status(404)], |error| matches!(error, SourceError::NotFound { .. })),
        (&[Fault::Status(500), Fault::Status(502), Fault::Status(503)], |error| {
            matches!(error, SourceError::Status { status: 503, .. })
        }),
        (&[Fault::Silence, Fault::Silence, Fault::Silence], |error| {
            matches!(error, SourceError::Stalled { attempts: 3, .. })
        }),
    ];
    for (faults, expected) in cases {
        let error = read(&server(), 0..100, faults).unwrap_err();
        assert!(expected(&error), "{faults:?}: {error:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let gone = server();
    let source = source(&gone);
    drop(gone);
    let error = source.tail(&image(), 10).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}

#[test]
fn no_more_than_the_range_can_be_read() {
    let server = server();
    let source = source(&server);
    let mut reader = source.open(&image(), 10..20).unwrap();
    assert!(matches!(reader.read_exact(&mut [0; 11]), Err(SourceError::WrongLength { .. })));
    assert!(reader.read_exact(&mut [0; 10]).is_ok());
}

#[test]
fn content_range_is_parsed_strictly() {
    let parse = ContentRange::parse;
    assert_eq!(parse("bytes 0-9/10"), Some(ContentRange { first: 0, last: 9, total: 10 }));
    for text in ["bytes 0-10/10", "bytes 5-4/10", "bytes */10", "bytes 0-9/*", "0-9/10", ""] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn pauses_double_up_to_a_bound() {
    let patience = Patience { pause: Duration::from_secs(1), ..PATIENCE };
    let pauses = [0, 1, 2, 3, 7, 8, 1000].map(|attempt| patience.pause_before(attempt).as_secs());
    assert_eq!(pauses, [0, 1, 2, 4, 64, 64, 64]);
}
