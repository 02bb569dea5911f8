use std::cell::RefCell;

use payload_tools::format::delta::adjust::{
    AdjustError, Adjustment, Content, Domain, ENTRY_LEN, FileAdjustment, Part, Records, ShiftMap,
};
use payload_tools::format::delta::codec::{Codec, Coder, fix_up};
use payload_tools::format::delta::repack::{
    BlockGroup, Directory, DirectoryError, Item, PackedPart, Packing, PartDirectory, RepackError,
    encode_streams,
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
    BodyError::Directory(DirectoryError::Number(_)) => "directory number",
    BodyError::Directory(DirectoryError::Codec) => "directory codec",
    BodyError::Directory(DirectoryError::Parts) => "directory parts",
    BodyError::Directory(DirectoryError::Part) => "directory part",
    BodyError::Directory(DirectoryError::Range) => "directory range",
    BodyError::Directory(DirectoryError::Source) => "directory source",
    BodyError::Directory(DirectoryError::End) => "directory end",
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
    DeltaError::Repack(RepackError::Number(_)) => "repack number",
    DeltaError::Repack(RepackError::Directory(_)) => "repack directory",
    DeltaError::Repack(RepackError::Codec(_)) => "repack codec",
    DeltaError::Repack(RepackError::Patch(_)) => "repack patch",
    DeltaError::Repack(RepackError::Source) => "repack source",
    DeltaError::Repack(RepackError::Streams) => "repack streams",
    DeltaError::Repack(RepackError::Incomplete) => "repack incomplete",
    DeltaError::Codec(_) => "codec",
    DeltaError::Length => "length",
});

pub(crate) const PARSER: Parser = Parser {
    name: "delta_body",
    run,
    outcomes: &[BODY_ERRORS, DELTA_ERRORS, &["segment"]],
    // The directory was read before with all its ranges; there is memory for a decoder.
    never: &["repack source", "codec"],
    seeds,
};

thread_local! {
    static DECODER: RefCell<DeltaDecoder> =
        RefCell::new(DeltaDecoder::new().expect("there is memory"));
}

/// zstd: 4096 times z.
const BLOCK: [u8; 11] = [0x28, 0xB5, 0x2F, 0xFD, 0x60, 0, 0x0F, 3, 0x80, 0, b'z'];
const ZSTD: Codec = Codec::Zstd { level: 3, content: 8192, headed: false };
const LZ4: Codec = Codec::Lz4 { level: 9, stored: 4096 };
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
    let (mut source, mut segment) = (source(source_len), vec![0; segment_len]);
    let payload = &bytes[body.payload_at..];
    let decoded =
        DECODER.with_borrow_mut(|decoder| decoder.decode(&body, &bytes, &mut source, &mut segment));
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

/// Whatever the ranges are: the beginning is a block that can be unpacked.
fn source(len: usize) -> Vec<u8> {
    let mut source = noise(2, len);
    source.iter_mut().zip(BLOCK).for_each(|(byte, of_block)| *byte = of_block);
    source
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
    let source = source(9000);
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
    all.extend(repack_seeds());
    all
}

/// A segment that is unpacked, patched and packed again, and such as are refused.
fn repack_seeds() -> Vec<Vec<u8>> {
    let group = BlockGroup { blocks: 1, stored: 11, is_packed: true };
    let unpacked = Item::Packed { codec: 1, start: 0, groups: vec![group], content: 0..4096 };
    let items = vec![unpacked, Item::Stored(11..4107)];
    let directory =
        Directory { codecs: vec![ZSTD, LZ4], parts: vec![PartDirectory { content: 8192, items }] };
    let source = [&[b'z'; 4096][..], &source(4107)[11..]].concat();
    let mut content = source.clone();
    content[5] = b'Z';
    let streams = |packing| {
        let steps = [Step { old: 0, same: content.len(), fresh: 0 }];
        encode_streams(0, &[PackedPart::new(Vec::new(), (&steps, &source, &content), packing)])
    };
    let mut packing = Packing::default();
    // The first 4000 bytes and zeroes, as no encoder would make them.
    packing.push(0, 2, 4096);
    let mut coder = Coder::new().expect("there is memory");
    let block = [&content[..4000], &[0; 96]].concat();
    packing.fix_up(&fix_up(&mut coder, LZ4, &content[..4096], 4096, &block));
    packing.push(0, 0, 4096);
    let good = streams(packing);
    let mut bad_fix_up = Packing::default();
    bad_fix_up.push(0, 1, 8192);
    bad_fix_up.fix_up(&[9, 1]);
    let mut short = Packing::default();
    short.push(0, 0, 4096);
    short.end(4096);
    let mut unknown = Packing::default();
    unknown.push(0, 3, 4096);
    let head = |directory: &[u8], streams_len| {
        Body::encode_repack(directory, SourceSum::of(b""), streams_len, b"")
    };
    let whole = directory.encode();
    let of = |streams: &[u8], blocks| {
        seed(5 | MEND_FRAME, blocks, &head(&whole, streams.len() as u32), streams)
    };
    let longer = Directory {
        parts: vec![PartDirectory { content: 8193, ..directory.parts[0].clone() }],
        ..directory.clone()
    };
    let mut seeds = vec![
        of(&good, 2),
        of(&good, 3),
        of(&streams(bad_fix_up), 2),
        of(&streams(short), 2),
        of(&streams(unknown), 2),
        of(&[0, 0x80], 2),
        of(&[0, 0], 2),
        seed(5 | MEND_FRAME, 2, &head(&longer.encode(), good.len() as u32), &good),
        seed(5, 2, &head(&whole, 9), b"no frame"),
        seed(5, 2, &head(&whole, 0), b"frame"),
        seed(5, 2, b"\x7f", b""),
    ];
    let directories: [&[u8]; 6] = [
        &[0x80],
        &[9],
        &[0, 0],
        &[0, 1, 0, 0],
        &[0, 1, 1, 1, 0, 0, 0],
        // As LEB128: 8 MiB.
        &[0, 1, 1, 1, 0, 0, 0x80, 0x80, 0x80, 0x04],
    ];
    seeds.extend(directories.map(|directory| seed(5, 2, &head(directory, 9), b"frame")));
    seeds
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
