use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::confined::hostile::taking_over;
use crate::format::seekable::{FrameEncoder, Writer, tail_len};
use crate::format::{Role, Salt};
use crate::testing::noise;
use crate::tree::TreeBuilder;

/// Expands an image whose second frame ends with `behind`; the error, or the bytes that came out.
fn expanded(decoding: Decoding, behind: &[u8]) -> Result<u64, ExpandError> {
    let content = noise(7, SEGMENT + GROUP);
    let size = content.len() as u64;
    let builder = TreeBuilder::new(Salt::default());
    let tree = builder.build(&content, size, &|_| ()).unwrap();
    let image = builder.image(Role::Root, size, &tree);
    let (mut full, mut encoder) = (Writer::new(Vec::new(), size), FrameEncoder::new(1).unwrap());
    for (segment, behind) in content.chunks(SEGMENT).zip([&[], behind]) {
        full.frame(&[&encoder.encode(segment).unwrap(), behind].concat()).unwrap();
    }
    let full = full.finish().unwrap();
    let len = full.len() as u64;
    let tail = &full[full.len() - tail_len(size) as usize..];
    let table = SeekTable::parse(tail, size, len).unwrap();
    let levels = Levels::verify(&image, tree.levels).unwrap();
    let bytes = AtomicU64::new(0);
    let threads = NonZero::new(2).unwrap();
    expand(&full, &table, &levels, (decoding, threads), &|group| {
        bytes.fetch_add(group.bytes().len() as u64, Ordering::Relaxed);
        Ok(())
    })?;
    Ok(bytes.into_inner())
}

#[test]
fn an_image_is_the_same_wherever_it_is_decoded() {
    for decoding in [Decoding::Here, Decoding::Confined] {
        assert_eq!(expanded(decoding, b"").unwrap(), (SEGMENT + GROUP) as u64, "{decoding:?}");
        let refused = expanded(decoding, b"more").unwrap_err();
        assert!(matches!(refused, ExpandError::Frame { index: 1, .. }), "{refused:?}");
    }
}

#[test]
fn a_frame_that_takes_over_its_decoder_has_nothing() {
    for act in ["open", "exec", "kill", "write standard output"] {
        match expanded(Decoding::Confined, &taking_over(act)) {
            Err(ExpandError::Frame {
                index: 1,
                source: NotDecoded::Confined(DecodeError::Died(status)),
            }) => assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}"),
            other => panic!("{act}: {other:?}"),
        }
    }
    let lie = expanded(Decoding::Confined, &taking_over("lie"));
    assert!(matches!(lie, Err(ExpandError::Mismatch { index: 1, .. })), "{lie:?}");
}

/// A build host without memory or time says nothing about a release.
#[test]
fn what_the_machine_could_not_do_is_no_fault_of_the_payload() {
    use std::process::ExitStatus;
    use std::time::Duration;
    let died = |signal| DecodeError::Died(ExitStatus::from_raw(signal));
    for (error, of_payload) in [
        (died(libc::SIGSYS), true),
        (died(libc::SIGSEGV), true),
        (died(libc::SIGKILL), false),
        (DecodeError::Nonsense, true),
        (DecodeError::TimedOut(Duration::ZERO), false),
        (DecodeError::NotConfined, false),
        (DecodeError::Run(io::ErrorKind::OutOfMemory.into()), false),
    ] {
        let said = error.to_string();
        assert_eq!(of_segment(1, error.into()).is_of_payload(), of_payload, "{said}");
    }
}
