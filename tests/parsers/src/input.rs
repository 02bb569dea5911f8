//! An input as numbers and pieces. Nothing is refused: what is missing at the end is zero or empty.

/// What is left of an input.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A piece with its length before it.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = self.u16().into();
        self.take(len)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(self.0.len())
    }
}

/// What [`Input::piece`] reads; at most 65535 bytes of it.
pub(crate) fn put_piece(piece: &[u8], out: &mut Vec<u8>) {
    let piece = &piece[..piece.len().min(usize::from(u16::MAX))];
    out.extend((piece.len() as u16).to_le_bytes());
    out.extend(piece);
}

/// `text` with one thing in it replaced.
pub(crate) fn but(text: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}
