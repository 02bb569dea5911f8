use payload_tools::format::seekable::{SeekTable, SeekTableError, Writer, tail_len};

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(named, ERRORS, SeekTableError, {
    SeekTableError::ImageSize { .. } => "image size",
    SeekTableError::Length { .. } => "length",
    SeekTableError::Field { .. } => "field",
    SeekTableError::Segment { .. } => "segment",
    SeekTableError::FrameLength { .. } => "frame length",
    SeekTableError::FileLength { .. } => "file length",
});

pub(crate) const PARSER: Parser =
    Parser { name: "seek_table", run, outcomes: &[ERRORS, &["table"]], never: &[], seeds };

/// The image's size, the file's length, the table.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let (image_size, file_len, tail) = (input.u64(), input.u64(), input.rest());
    if let Some(footer) = tail.last_chunk::<{ SeekTable::FOOTER_LEN }>()
        && let Ok(len) = SeekTable::stated_tail_len(footer, file_len)
    {
        assert!(len <= file_len);
    }
    let _any = SeekTable::stated_image_size(tail);
    match SeekTable::parse(tail, image_size, file_len) {
        Ok(table) => {
            let frames: Vec<_> = (0..).map_while(|index| table.frame(index)).collect();
            assert_eq!(frames.len() as u64, table.frame_count());
            let (mut compressed, mut segment) = (0, 0);
            for frame in frames {
                assert_eq!((frame.compressed.start, frame.segment.start), (compressed, segment));
                (compressed, segment) = (frame.compressed.end, frame.segment.end);
            }
            assert_eq!((compressed, segment), (table.frames_len(), image_size));
            assert_eq!(compressed + tail.len() as u64, file_len);
            vec!["table".to_owned()]
        }
        Err(error) => vec![named(&error)],
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // Two segments: the first whole, the second of one block.
    let image_size = (4u64 << 20) + 4096;
    let mut writer = Writer::new(Vec::new(), image_size);
    writer.frame(&[1; 300]).expect("memory can be written");
    writer.frame(&[2; 20]).expect("memory can be written");
    let file = writer.finish().expect("memory can be written");
    let file_len = file.len() as u64;
    let tail = file[file.len() - tail_len(image_size) as usize..].to_vec();
    let seed = |image_size: u64, file_len: u64, tail: &[u8]| {
        [&image_size.to_le_bytes()[..], &file_len.to_le_bytes(), tail].concat()
    };
    let changed = |at: usize| {
        let mut bytes = tail.clone();
        bytes[at] ^= 0x40;
        seed(image_size, file_len, &bytes)
    };
    let endless = |at: usize| {
        let mut bytes = tail.clone();
        bytes[at..at + 4].fill(0xff);
        seed(image_size, file_len, &bytes)
    };
    vec![
        seed(u64::MAX, file_len, &tail),
        seed(image_size, file_len, &tail[1..]),
        seed(image_size, file_len + 1, &tail),
        changed(0),
        changed(12),
        endless(8),
        changed(tail.len() - 1),
        seed(image_size, file_len, &tail),
        seed(0, 17, &[]),
    ]
}
