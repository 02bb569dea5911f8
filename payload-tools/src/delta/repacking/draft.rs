//! The content of a part, as it is gathered from the new image.

use std::io;
use std::ops::Range;

use super::CONTENT_LEN;
use crate::ReadAt;
use crate::delta::view::View;
use crate::format::delta::codec::Codec;

/// A piece of a part's content.
pub(super) struct Piece {
    pub content: Range<usize>,
    pub is: Is,
}

pub(super) enum Is {
    /// Blocks that the old image has from there on, and that stay packed.
    Same(u64),
    /// Bytes of the view, as they are.
    Plain(Range<u64>),
    /// Blocks of the view: the bytes of each, and what it is packed as.
    Packed { codec: Codec, view: Range<u64>, blocks: Vec<(usize, Vec<u8>)> },
}

/// A part that is still to be made.
#[derive(Default)]
pub(super) struct Draft {
    pub content: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// The last draft, or a new one if so many bytes more do not fit that.
pub(super) fn room(drafts: &mut Vec<Draft>, len: usize) -> &mut Draft {
    let is_full = |draft: &Draft| draft.content.len() + len > CONTENT_LEN;
    if drafts.last().is_none_or(is_full) {
        drafts.push(Draft::default());
    }
    let last = drafts.len() - 1;
    &mut drafts[last]
}

impl Draft {
    fn add(&mut self, from: &dyn ReadAt, range: &Range<u64>) -> io::Result<Range<usize>> {
        let start = self.content.len();
        self.content.resize(start + (range.end - range.start) as usize, 0);
        from.fill_at(&mut self.content[start..], range.start)?;
        Ok(start..self.content.len())
    }

    pub fn same(&mut self, new: &dyn ReadAt, bytes: Range<u64>, old: u64) -> io::Result<()> {
        let content = self.add(new, &bytes)?;
        if let Some(Piece { content: last, is: Is::Same(start) }) = self.pieces.last_mut()
            && *start + last.len() as u64 == old
        {
            last.end = content.end;
            return Ok(());
        }
        self.pieces.push(Piece { content, is: Is::Same(old) });
        Ok(())
    }

    pub fn plain(&mut self, view: &View<'_>, range: Range<u64>) -> io::Result<()> {
        let content = self.add(view, &range)?;
        self.pieces.push(Piece { content, is: Is::Plain(range) });
        Ok(())
    }

    /// A block goes on in the one before if that is of the same run.
    pub fn packed(
        &mut self,
        view: &View<'_>,
        codec: Codec,
        range: Range<u64>,
        stored: Vec<u8>,
    ) -> io::Result<()> {
        let content = self.add(view, &range)?;
        let block = (content.len(), stored);
        if let Some(Piece { content: last, is: Is::Packed { codec: same, view, blocks } }) =
            self.pieces.last_mut()
            && (*same, view.end) == (codec, range.start)
        {
            (last.end, view.end) = (content.end, range.end);
            blocks.push(block);
            return Ok(());
        }
        let is = Is::Packed { codec, view: range, blocks: vec![block] };
        self.pieces.push(Piece { content, is });
        Ok(())
    }
}

impl Piece {
    pub fn view(&self) -> Option<Range<u64>> {
        match &self.is {
            Is::Same(_) => None,
            Is::Plain(view) | Is::Packed { view, .. } => Some(view.clone()),
        }
    }

    pub fn same_len(&self) -> Option<usize> {
        matches!(self.is, Is::Same(_)).then_some(self.content.len())
    }
}
