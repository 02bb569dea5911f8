use super::super::Kind;
use super::super::repack::sample::{self, Sample};
use super::super::repack::{PackedPart, PartDirectory};
use super::*;

fn parsed(sample: &Sample, bytes: &[u8]) -> Result<Body, String> {
    let from = sample.old.len() as u64;
    let body = Body::parse(Kind::Repack, bytes, sample.segment.len(), from);
    body.map_err(|error| error.to_string())
}

/// Makes a body's segment of what the old image has where the body says.
fn make(decoder: &mut DeltaDecoder, sample: &Sample, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let body = parsed(sample, bytes)?;
    let ranges = body.sources.iter();
    let source = ranges.flat_map(|range| &sample.old[range.start as usize..range.end as usize]);
    let mut source: Vec<u8> = source.copied().collect();
    let mut segment = vec![0; sample.segment.len()];
    let made = decoder.decode(&body, bytes, &mut source, &mut segment);
    made.map(|()| segment).map_err(|error| error.to_string())
}

#[test]
fn a_repacked_body_makes_its_segment_again_and_again() {
    let mut decoder = DeltaDecoder::new().unwrap();
    for codecs in sample::ALL.repeat(2) {
        let sample = Sample::of(codecs);
        let bytes = sample.body();
        let body = parsed(&sample, &bytes).unwrap();
        assert_eq!(body.parts.len(), 2);
        assert_eq!(body.source_len(), sample.stored().len());
        assert_eq!(body.sum, Some(super::super::SourceSum::of(&sample.stored())));
        assert!(make(&mut decoder, &sample, &bytes).unwrap() == sample.segment, "{codecs:?}");
    }
}

#[test]
fn a_cut_body_is_refused() {
    let mut decoder = DeltaDecoder::new().unwrap();
    let sample = Sample::of(sample::EROFS);
    let bytes = sample.body();
    let payload_at = parsed(&sample, &bytes).unwrap().payload_at;
    let ends = (0..payload_at + 20).chain((payload_at + 20..bytes.len()).step_by(50));
    for len in ends.chain([bytes.len() - 1]) {
        assert!(make(&mut decoder, &sample, &bytes[..len]).is_err(), "{len}");
    }
    assert!(make(&mut decoder, &sample, &bytes).unwrap() == sample.segment);
}

#[test]
fn a_directory_and_streams_have_as_many_parts() {
    let mut decoder = DeltaDecoder::new().unwrap();
    let whole = Sample::of(sample::SQUASHFS);
    let mut refused = |change: &dyn Fn(&mut Sample)| {
        let mut sample = Sample::of(sample::SQUASHFS);
        change(&mut sample);
        let error = make(&mut decoder, &sample, &sample.body()).unwrap_err();
        assert!(make(&mut decoder, &whole, &whole.body()).unwrap() == whole.segment);
        error
    };
    let streams = RepackError::Streams.to_string();
    assert_eq!(refused(&|sample| sample.parts.push(PackedPart::default())), streams);
    let one_more = PartDirectory { content: 1, items: Vec::new() };
    assert_eq!(refused(&|sample| sample.directory.parts.push(one_more.clone())), streams);
    assert_eq!(refused(&|sample| drop(sample.directory.parts.pop())), streams);
    let incomplete = RepackError::Incomplete.to_string();
    assert_eq!(refused(&|sample| drop(sample.parts.pop())), incomplete);
    let none = refused(&|sample| sample.directory.parts.clear());
    assert!(none.contains("repacked"), "{none}");
}

/// Lengths in a body that are not those of what it has.
#[test]
fn lengths_of_a_repacked_body_are_checked() {
    let mut decoder = DeltaDecoder::new().unwrap();
    let sample = Sample::of(sample::SQUASHFS);
    let bytes = sample.body();
    let body = parsed(&sample, &bytes).unwrap();
    let mut decode = |body: &Body, source: &[u8], len: usize| {
        decoder.decode(body, &bytes, &mut source.to_vec(), &mut vec![0; len])
    };
    let (stored, len) = (sample.stored(), sample.segment.len());
    assert_eq!(decode(&body, &stored, len), Ok(()));
    let cut = &stored[..stored.len() - 1];
    assert_eq!(decode(&body, cut, len), Err(DeltaError::Length));
    let method = |streams_len| Body { method: Method::Repack { streams_len }, ..body.clone() };
    assert_eq!(decode(&method(u32::MAX), &stored, len), Err(DeltaError::Length));
    assert!(matches!(decode(&method(9), &stored, len), Err(DeltaError::Frame(_))));
    let short = decode(&body, &stored, 10);
    assert_eq!(short, Err(RepackError::Incomplete.into()));
    let beyond = Body { payload_at: bytes.len() + 1, ..body.clone() };
    assert_eq!(decode(&beyond, &stored, len), Err(DeltaError::Length));
    let beyond = Body { codecs: 0..bytes.len() + 1, ..body.clone() };
    assert_eq!(decode(&beyond, &stored, len), Err(DeltaError::Length));
}

/// A part goes on only with the segment that was begun last.
#[test]
fn a_segment_that_was_refused_has_no_parts() {
    let mut decoder = DeltaDecoder::new().unwrap();
    let sample = Sample::of(sample::SQUASHFS);
    let (mut work, mut segment) = (vec![0; STREAMS_MAX], vec![0; sample.segment.len()]);
    let (payload, streams_len) = (sample.payload(), sample.streams().len());
    let method = Method::Repack { streams_len: streams_len as u32 };
    let len = segment.len();
    let mut begin = |payload: &[u8], method| {
        segment[..payload.len()].copy_from_slice(payload);
        let room = Room { work: &mut work, source: &mut [], segment: &mut segment };
        let begun = decoder.decode_in(room, method, payload.len(), len);
        let (mut input, directory_len) = sample.inputs().swap_remove(0);
        let room = Room { work: &mut work, source: &mut input, segment: &mut segment };
        (begun, decoder.part_in(room, (streams_len, directory_len), len))
    };
    assert_eq!(begin(&payload, method), (Ok(()), Ok(())));
    let no_part = Err(RepackError::Streams.into());
    let (begun, part) = begin(b"no frame", method);
    assert!(matches!(begun, Err(DeltaError::Frame(_))), "{begun:?}");
    assert_eq!(part, no_part);
    assert_eq!(begin(&payload, method), (Ok(()), Ok(())));
    assert_eq!(begin(b"", Method::Zero), (Ok(()), no_part));
}
