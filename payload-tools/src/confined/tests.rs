//! Children that behave, children that do not, and what each layer of the jail
//! stops by itself.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use super::hostile::HOSTILE;
use super::{DecodeError, Decoder, Recipe, Refusal, hostile, jail};
use crate::format::delta::adjust::{
    Adjustment, Domain, ENTRY_LEN, FileAdjustment, Records, ShiftMap,
};
use crate::format::delta::repack::sample::{self, Sample};
use crate::format::delta::{SOURCE_MAX, Step, encode_patch};
use crate::format::seekable::FrameEncoder;
use crate::jail::{drop_capabilities, mapped_bytes, shut_files_off};

const LAYER: &str = "--jail-layer";
const HELD: i32 = 10;
const LEAKED: i32 = 11;

/// Runs before the test harness, so that `/proc/self/exe` is a decoder for the
/// tests as it is for the programs.
#[used]
#[expect(unsafe_code, reason = "nothing safe runs before the test harness")]
// SAFETY: the section holds pointers to functions of this type, which the C
// library calls before main; std has its arguments by then (its own entry in
// this section sorts first), and nothing else of std is set up later on Linux.
#[unsafe(link_section = ".init_array")]
static BECOME_CHILD: extern "C" fn() = become_child;

extern "C" fn become_child() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(LAYER) {
        std::process::exit(try_layer(&arguments.next().unwrap()));
    }
    hostile::enter_if_asked();
}

fn try_layer(layer: &str) -> i32 {
    let held = match layer {
        "landlock" => {
            shut_files_off(&[]).unwrap();
            std::fs::File::open("/etc/passwd").is_err()
                && std::net::TcpListener::bind("127.0.0.1:0").is_err()
        }
        "capabilities" => {
            drop_capabilities().unwrap();
            rustix::process::chroot("/").is_err() && rustix::thread::no_new_privs().unwrap()
        }
        "limits" => {
            jail::limit(mapped_bytes().unwrap()).unwrap();
            Vec::<u8>::new().try_reserve(64 << 20).is_err()
                && std::fs::File::open("/etc/passwd").is_err()
        }
        _ => false,
    };
    if held { HELD } else { LEAKED }
}

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(|n| (n / 5).to_le_bytes()).collect()
}

fn frame() -> Vec<u8> {
    FrameEncoder::new(3).unwrap().encode(&content()).unwrap()
}

fn decode(decoder: &mut Decoder, input: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut output = vec![0; len];
    decoder.put(Recipe::Zstd, 0, input)?;
    decoder.make(Recipe::Zstd, input.len(), 0, &mut output)?;
    Ok(output)
}

#[test]
fn one_child_decodes_one_frame_after_another() {
    let mut decoder = Decoder::start().unwrap();
    let pid = decoder.pid();
    for _ in 0..3 {
        assert_eq!(decode(&mut decoder, &frame(), content().len()).unwrap(), content());
    }
    assert_eq!(decoder.pid(), pid);
}

#[test]
fn a_child_makes_segments_of_a_source_and_refuses_what_leaves_it() {
    let (content, mut decoder) = (content(), Decoder::start().unwrap());
    let pid = decoder.pid();
    let source: Vec<u8> = content.iter().rev().copied().collect();
    let mut make = |recipe, payload: &[u8], source_len| {
        let mut output = vec![0; content.len()];
        // In two pieces, as ranges come.
        decoder.put_source(0, &source[..1000])?;
        decoder.put_source(1000, &source[1000..])?;
        decoder.put(recipe, 0, payload)?;
        decoder.make(recipe, payload.len(), source_len, &mut output).map(|()| output)
    };
    let frame = FrameEncoder::encode_with_prefix(3, &source, &content).unwrap();
    assert_eq!(make(Recipe::Prefix, &frame, source.len()).unwrap(), content);

    let patch = |adjust: &Adjustment, old: usize, fresh: usize| {
        let same = content.len() - fresh;
        // One byte more than the decoder has.
        let source = [&source[..], &[0]].concat();
        let steps = [Step { old, same, fresh }];
        let streams = encode_patch(&adjust.encode(), &steps, &source, &content);
        let frame = FrameEncoder::new(3).unwrap().encode(&streams).unwrap();
        (Recipe::Patch { streams_len: streams.len() as u32 }, frame)
    };
    let none = Adjustment::default();
    let (recipe, frame) = patch(&none, 0, 77);
    assert_eq!(make(recipe, &frame, source.len()).unwrap(), content);
    let (recipe, outside) = patch(&none, 1, 0);
    let refused = |result: Result<Vec<u8>, DecodeError>| match result {
        Err(DecodeError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(make(recipe, &outside, source.len())), Refusal::Patch);
    assert_eq!(refused(make(recipe, &outside, SOURCE_MAX + 1)), Refusal::TooLong);
    // The child moves numbers in its source, so that what the differences made no longer does.
    let region = (0..ENTRY_LEN, Records::Symbols);
    let mut names = ShiftMap::default();
    names.push(0, 1);
    let maps = BTreeMap::from([(Domain::SymbolName, names)]);
    let file = FileAdjustment { maps, regions: vec![region], ..FileAdjustment::default() };
    let moved = Adjustment { files: vec![file], ..Adjustment::default() };
    let (recipe, adjusted) = patch(&moved, 0, 0);
    let made = make(recipe, &adjusted, source.len()).unwrap();
    assert_eq!(made[0], content[0].wrapping_add(1));
    assert_eq!(made[4..], content[4..]);
    let lying = Recipe::Patch { streams_len: u32::MAX };
    assert_eq!(refused(make(lying, &frame, source.len())), Refusal::TooLong);
    assert_eq!(decoder.pid(), pid);
}

/// Begins a repacked segment, and makes all its parts.
fn repack(decoder: &mut Decoder, sample: &Sample) -> Result<Vec<u8>, DecodeError> {
    let (payload, streams_len) = (sample.payload(), sample.streams().len());
    let mut segment = vec![0; sample.segment.len()];
    let recipe = Recipe::Repack { streams_len: streams_len as u32 };
    decoder.put(recipe, 0, &payload)?;
    decoder.ask(recipe, payload.len(), 0, segment.len())?;
    for (input, directory_len) in sample.inputs() {
        let recipe = Recipe::Part { directory_len: directory_len as u32 };
        decoder.put_source(0, &input)?;
        decoder.ask(recipe, streams_len, input.len(), segment.len())?;
    }
    decoder.take(&mut segment)?;
    Ok(segment)
}

#[test]
fn a_child_makes_repacked_segments_part_by_part() {
    let mut decoder = Decoder::start().unwrap();
    let pid = decoder.pid();
    for codecs in sample::ALL.repeat(2) {
        let sample = Sample::of(codecs);
        assert!(repack(&mut decoder, &sample).unwrap() == sample.segment, "{codecs:?}");
        assert_eq!(decode(&mut decoder, &frame(), content().len()).unwrap(), content());
    }
    assert_eq!(decoder.pid(), pid);
}

#[test]
fn parts_that_were_not_begun_are_refused_and_the_child_goes_on() {
    let mut decoder = Decoder::start().unwrap();
    let pid = decoder.pid();
    let sample = Sample::of(sample::SQUASHFS);
    let (input, directory_len) = sample.inputs().swap_remove(0);
    let (streams_len, len) = (sample.streams().len(), sample.segment.len());
    let part = |directory_len: usize| Recipe::Part { directory_len: directory_len as u32 };
    let refused = |decoder: &mut Decoder, recipe, (payload_len, source_len), len| {
        decoder.put_source(0, &input).unwrap();
        match decoder.ask(recipe, payload_len, source_len, len) {
            Err(DecodeError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let good = (streams_len, input.len());
    assert_eq!(refused(&mut decoder, part(directory_len), good, len), Refusal::Repack);
    let cases = [
        (part(directory_len), (super::WORK_MAX + 1, input.len()), len, Refusal::TooLong),
        (part(directory_len), (streams_len, SOURCE_MAX + 1), len, Refusal::TooLong),
        (part(directory_len), good, super::OUTPUT_MAX + 1, Refusal::TooLong),
        (part(directory_len), (10, input.len()), len, Refusal::Repack),
        (part(directory_len), (streams_len, directory_len - 1), len, Refusal::Repack),
        (part(input.len() + 1), good, len, Refusal::Repack),
        (Recipe::Part { directory_len: u32::MAX }, good, len, Refusal::Repack),
        (part(directory_len), good, 10, Refusal::Repack),
    ];
    let payload = sample.payload();
    let recipe = Recipe::Repack { streams_len: streams_len as u32 };
    for (asked, lens, output_len, refusal) in cases {
        decoder.put(recipe, 0, &payload).unwrap();
        decoder.ask(recipe, payload.len(), 0, len).unwrap();
        assert_eq!(refused(&mut decoder, asked, lens, output_len), refusal, "{asked:?}, {lens:?}");
    }
    // Whole, and a part too many.
    assert!(repack(&mut decoder, &sample).unwrap() == sample.segment);
    assert_eq!(refused(&mut decoder, part(directory_len), good, len), Refusal::Repack);
    let lying = Recipe::Repack { streams_len: u32::MAX };
    assert_eq!(refused(&mut decoder, lying, (payload.len(), 0), len), Refusal::TooLong);
    assert_eq!(decoder.pid(), pid);
}

#[test]
fn what_is_not_the_frame_is_refused_and_the_child_goes_on() {
    let mut decoder = Decoder::start().unwrap();
    let (frame, len) = (frame(), content().len());
    let damaged = {
        let mut damaged = frame.clone();
        damaged[frame.len() / 2] ^= 0x55;
        damaged.truncate(frame.len());
        damaged
    };
    let cases: [(&str, &[u8], usize, Refusal); 5] = [
        ("other size", &frame, len - 1, Refusal::WrongContentSize),
        ("no frame", b"<html>", len, Refusal::NotAFrame),
        ("trailing byte", &[&frame[..], b"x"].concat(), len, Refusal::NotOneFrame),
        ("two frames", &[&frame[..], &frame[..]].concat(), len, Refusal::NotOneFrame),
        ("cut", &frame[..frame.len() - 1], len, Refusal::Damaged),
    ];
    let pid = decoder.pid();
    for (name, input, len, refusal) in cases {
        match decode(&mut decoder, input, len) {
            Err(DecodeError::Refused(found)) => assert_eq!(found, refusal, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Without a checksum a flipped byte may still decode: the tree finds it.
    let flipped = decode(&mut decoder, &damaged, len);
    assert!(flipped.is_err() || flipped.unwrap() != content());
    assert_eq!(decoder.pid(), pid);
    assert_eq!(decode(&mut decoder, &frame, len).unwrap(), content());
}

#[test]
fn lengths_beyond_the_buffers_are_refused() {
    let mut decoder = Decoder::start().unwrap();
    let mut small = [0; 4096];
    let refused = decoder.make(Recipe::Zstd, super::WORK_MAX + 1, 0, &mut small);
    assert!(matches!(refused, Err(DecodeError::Refused(Refusal::TooLong))));
    let patch = Recipe::Patch { streams_len: 100 };
    let refused = decoder.make(patch, super::OUTPUT_MAX + 1, 0, &mut small);
    assert!(matches!(refused, Err(DecodeError::Refused(Refusal::TooLong))));
    let refused = decoder.make(Recipe::Zstd, 100, 0, &mut vec![0; super::OUTPUT_MAX + 1]);
    assert!(matches!(refused, Err(DecodeError::Refused(Refusal::TooLong))));
}

#[test]
fn hostile_children_are_ended_by_the_filter() {
    let acts: [&[&str]; 10] = [
        &[HOSTILE, "open"],
        &[HOSTILE, "socket"],
        &[HOSTILE, "exec"],
        &[HOSTILE, "fork"],
        &[HOSTILE, "kill"],
        &[HOSTILE, "signal by a descriptor"],
        &[HOSTILE, "ptrace"],
        &[HOSTILE, "allocate"],
        &[HOSTILE, "read standard error"],
        &[HOSTILE, "write standard output"],
    ];
    for arguments in acts {
        let arguments: Vec<&'static str> = arguments.to_vec();
        let mut decoder = Decoder::start_as(&arguments, Duration::from_secs(20)).unwrap();
        match decode(&mut decoder, &frame(), 100) {
            Err(DecodeError::Died(status)) => {
                assert_eq!(status.signal(), Some(libc::SIGSYS), "{arguments:?}: {status}");
            }
            other => panic!("{arguments:?}: {other:?}"),
        }
    }
}

#[test]
fn a_child_that_never_returns_is_ended_and_replaced() {
    let mut decoder =
        Decoder::start_as(&[HOSTILE, "never return"], Duration::from_millis(300)).unwrap();
    let pid = decoder.pid();
    assert!(matches!(decode(&mut decoder, &frame(), 100), Err(DecodeError::TimedOut(_))));
    assert_ne!(decoder.pid(), pid);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_child_that_does_not_keep_to_the_protocol_is_not_believed() {
    for act in ["nonsense", "too many words", "ready again"] {
        let mut decoder = Decoder::start_as(&[HOSTILE, act], Duration::from_secs(20)).unwrap();
        let result = decode(&mut decoder, &frame(), 100);
        assert!(matches!(result, Err(DecodeError::Nonsense)), "{act}: {result:?}");
    }
}

#[test]
fn without_a_filter_nothing_is_decoded() {
    let started = Decoder::start_as(&[HOSTILE, "no seccomp here"], Duration::from_secs(20));
    assert!(matches!(started.map(drop), Err(DecodeError::NotConfined)));
}

#[test]
fn each_layer_holds_alone() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "nobody else has capabilities to give up; run this test as root");
    for layer in ["landlock", "capabilities", "limits"] {
        let status = Command::new("/proc/self/exe").args([LAYER, layer]).status().unwrap();
        assert_eq!(status.code(), Some(HELD), "{layer}: {status}");
    }
}
