use std::cell::RefCell;

use payload_tools::format::delta::adjust::{
    AdjustError, Adjustment, Content, Domain, ENTRY_LEN, FileAdjustment, Part, Records, ShiftMap,
};
use payload_tools::format::delta::{
    Body, BodyError, DeltaDecoder, DeltaError, Kind, Method, PatchError, Portion, SourceSum, Step,
    encode_patch, portions,
};
use payload_tools::format::seekable::{FrameDecoder, FrameEncoder};
use payload_tools::testing::noise;

use crate::input::{Input, put_piece};
use crate::{Outcomes, Parser, names};

names!(named, BODY_ERRORS, BodyError, {
    BodyError::Number(_) => "number",
    BodyError::Ranges { .. } => "ranges",
    BodyError::Range { .. } => "range",
    BodyError::SourceLength => "source length",
    BodyError::CopyLength { .. } => "copy length",
    BodyError::Sum => "sum",
    BodyError::Streams => "streams",
    BodyError::Payload { .. } => "payload",
});
names!(not_decoded, DELTA_ERRORS, DeltaError, {
    DeltaError::Frame(_) => "frame",
    DeltaError::Patch(PatchError::Number(_)) => "patch number",
    DeltaError::Patch(PatchError::Source) => "patch source",
    DeltaError::Patch(PatchError::Streams) => "patch streams",
    DeltaError::Patch(PatchError::Incomplete) => "patch incomplete",
    DeltaError::Patch(PatchError::Adjust(AdjustError::Number(_))) => "adjust number",
    DeltaError::Patch(PatchError::Adjust(AdjustError::Region)) => "adjust region",
    DeltaError::Patch(PatchError::Adjust(AdjustError::Domain)) => "adjust domain",
    DeltaError::Patch(PatchError::Adjust(AdjustError::Order)) => "adjust order",
    DeltaError::Patch(PatchError::Adjust(AdjustError::Places)) => "adjust places",
    DeltaError::Length => "length",
});

pub(crate) const PARSER: Parser = Parser {
    name: "delta_body",
    run,
    outcomes: &[BODY_ERRORS, DELTA_ERRORS, &["segment"]],
    never: &[],
    seeds,
};

thread_local! {
    static DECODER: RefCell<DeltaDecoder> =
        RefCell::new(DeltaDecoder::new().expect("there is memory"));
}

const FROM_SIZE: u64 = 100 * 4096;
/// The old image is as long; a longer source is parsed and not decoded.
const SOURCE_DECODED_MAX: usize = 1 << 20;
/// The body's payload is the content of a frame yet to be made.
const MEND_FRAME: u8 = 0x80;
/// The lengths of the decoder's source and segment are other ones than the body's.
const WRONG_LENGTH: u8 = 0x40;

/// Kind and what is to be mended, blocks of the segment, head of the body, its payload.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let mode = input.byte();
    let kind = Kind::ALL[usize::from(mode & 0x0f) % Kind::ALL.len()];
    let segment_len = usize::from(input.byte() % 8) * 4096;
    let mut bytes = input.piece().to_vec();
    let payload = input.rest();
    bytes.extend(if mode & MEND_FRAME == 0 { payload.to_vec() } else { frame_of(payload) });
    let body = match Body::parse(kind, &bytes, segment_len, FROM_SIZE) {
        Ok(body) => body,
        Err(error) => return vec![named(&error)],
    };
    assert!(body.sources.iter().all(|range| range.start < range.end && range.end <= FROM_SIZE));
    let mut source_len = body.source_len();
    if source_len > SOURCE_DECODED_MAX {
        return Vec::new();
    }
    if mode & WRONG_LENGTH != 0 {
        source_len += 1;
    }
    let (mut source, mut segment) = (noise(2, source_len), vec![0; segment_len]);
    let payload = &bytes[body.payload_at..];
    let decoded = DECODER
        .with_borrow_mut(|decoder| decoder.decode(body.method, payload, &mut source, &mut segment));
    if let Method::Patch { streams_len } = body.method {
        check_portions(payload, streams_len, segment_len as u64, decoded.is_ok());
    }
    vec![decoded.map_or_else(|error| not_decoded(&error), |()| "segment".to_owned())]
}

/// What tells which part of a segment costs what takes all that a device takes.
fn check_portions(frame: &[u8], streams_len: u32, segment_len: u64, is_made: bool) {
    let mut streams = vec![0; streams_len as usize];
    let decoded = FrameDecoder::new().and_then(|mut decoder| decoder.decode(frame, &mut streams));
    if decoded.is_err() || segment_len == 0 {
        return;
    }
    let found = portions(&streams, &[1, segment_len / 2, segment_len]);
    assert!(found.is_ok() || !is_made, "{found:?}");
    let portions = found.unwrap_or_default();
    let len = |of: &Portion<'_>| of.control.len() + of.difference.len() + of.fresh.len();
    assert!(portions.iter().map(len).sum::<usize>() <= streams.len());
}

fn frame_of(content: &[u8]) -> Vec<u8> {
    let encoder = FrameEncoder::new(1);
    encoder.and_then(|mut encoder| encoder.encode(content)).expect("what is short is encoded")
}

fn seed(mode: u8, blocks: u8, head: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![mode, blocks];
    put_piece(head, &mut bytes);
    bytes.extend(payload);
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let sum = Some(SourceSum::of(b""));
    let sources = [4096..8192, 0..4096];
    let head = |method| Body::encode(&sources, sum, method, b"");
    let (zero, copy, zstd, prefix, patch) = (0, 1, 2, 3, 4);
    let mut all = vec![
        seed(zero, 2, b"", b""),
        seed(copy, 2, &head(Method::Copy), b""),
        seed(copy | WRONG_LENGTH, 2, &head(Method::Copy), b""),
        seed(copy, 1, &head(Method::Copy), b""),
        seed(zstd | MEND_FRAME, 1, b"", &[7; 4096]),
        seed(zstd, 1, b"", b"no frame"),
        seed(prefix | MEND_FRAME, 1, &head(Method::Prefix), &[7; 4096]),
        seed(prefix, 1, &head(Method::Prefix), b""),
        seed(copy, 1, b"\x80", b""),
        seed(copy, 1, b"\x00", b""),
        seed(copy, 1, b"\x01\x01\x01", b""),
        seed(copy, 1, &[&b"\x14\x00\x64"[..], &b"\xc7\x01\x64".repeat(19)].concat(), b""),
        seed(copy, 1, b"\x01\x00\x01short", b""),
        seed(patch, 1, &[&head(Method::Copy)[..], &[0, 0]].concat(), b"frame"),
    ];
    // What is said of them is true of other lengths only.
    let source = noise(2, 9000);
    let (block, more) = (&source[..4096], &source[..4097]);
    let step = |old, same, fresh| Step { old, same, fresh };
    let adjust = adjustment().encode();
    let patches = [
        encode_patch(&[], &[step(0, 4000, 96)], &source, block),
        encode_patch(&adjust, &[step(0, 4096, 0)], &source, block),
        encode_patch(&[], &[step(8000, 1000, 3096)], &source, block),
        encode_patch(&[], &[step(0, 3000, 96)], &source, block),
        encode_patch(&[], &[step(0, 4000, 97)], &source, more),
        encode_patch(&[0x80], &[], &source, &[]),
        encode_patch(&[0, 0, 0, 0, 0, 0, 1, 0x7F, 0, 0xFF, 0x7F], &[], &source, &[]),
        encode_patch(&[0, 0, 0, 0, 1, 0xFF, 0xFF, 0x7F, 0], &[], &source, &[]),
        encode_patch(&[0, 2, 5, 2, 0, 4], &[], &source, &[]),
        encode_patch(&places(), &[], &source, &[]),
        vec![0, 0x80],
    ];
    all.extend(patches.iter().map(|streams| patch_seed(streams, &head(Method::Copy))));
    all
}

/// A symbol, a relocation and a type that move, and all parts of a program.
fn adjustment() -> Adjustment {
    let mut map = ShiftMap::default();
    map.push(10, 3);
    let domains = [Domain::Type, Domain::TypeName, Domain::SymbolName, Domain::Section(3)];
    let parts = [
        Content::Code,
        Content::FixedCode,
        Content::Pointers,
        Content::Relocations,
        Content::Symbols,
        Content::FrameTable,
        Content::Frames,
    ];
    let region = |(n, content): (usize, Content)| {
        (200 + n * 500..700 + n * 500, Records::Program(Part { content, address: 0x1000 }))
    };
    let program = FileAdjustment {
        maps: [(Domain::Address, map.clone())].into(),
        addresses: 0..u64::MAX,
        regions: (0..).zip(parts).map(region).collect(),
        ..FileAdjustment::default()
    };
    let file = FileAdjustment {
        maps: domains.map(|domain| (domain, map.clone())).into(),
        sections: [(1, 3)].into(),
        regions: vec![
            (0..ENTRY_LEN, Records::Symbols),
            (ENTRY_LEN..2 * ENTRY_LEN, Records::Relocations(3)),
            (100..200, Records::Types),
        ],
        ..FileAdjustment::default()
    };
    Adjustment { own: [9, 9], kernel: [map.clone(), map], files: vec![file, program] }
}

/// More places than there is room for.
fn places() -> Vec<u8> {
    // As LEB128: no own numbers, 131072 places.
    [&[0, 0x80, 0x80, 0x08][..], &[1, 0].repeat(1 << 17)].concat()
}

/// A patch of one block.
fn patch_seed(streams: &[u8], sources: &[u8]) -> Vec<u8> {
    let method = Method::Patch { streams_len: streams.len() as u32 };
    let length = Body::encode(&[], None, method, b"");
    seed(4 | MEND_FRAME, 1, &[sources, &length].concat(), streams)
}
