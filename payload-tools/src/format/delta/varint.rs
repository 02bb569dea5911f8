/// A number that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end within it.
    #[error("it ends within a number")]
    Cut,
    /// More than 64 bits.
    #[error("it has a number of more than 64 bits")]
    TooLarge,
    /// More bytes than the number needs.
    #[error("it has a number that is longer than it needs to be")]
    Overlong,
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
pub(super) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Signed: 0, -1, 1, -2 ... are 0, 1, 2, 3 ...
pub(super) fn put_signed(number: i64, out: &mut Vec<u8>) {
    put(((number << 1) ^ (number >> 63)) as u64, out);
}

/// Reads numbers one after another.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn number(&mut self) -> Result<u64, VarintError> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(VarintError::Cut)?;
            self.0 = rest;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(VarintError::TooLarge);
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong { Err(VarintError::Overlong) } else { Ok(number) };
            }
        }
        Err(VarintError::TooLarge)
    }

    /// The next `len` bytes as they are.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], VarintError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(VarintError::Cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub fn signed(&mut self) -> Result<i64, VarintError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, signed: i64) {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            put_signed(signed, &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.bytes(1), Err(VarintError::Cut));
            prop_assert_eq!(reader.bytes(0), Ok(&[][..]));
        }

        /// One spelling: what is read is written with the same bytes.
        #[test]
        fn a_number_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(number) = reader.number() {
                let mut again = Vec::new();
                put(number, &mut again);
                prop_assert_eq!(&bytes[..bytes.len() - reader.rest().len()], again);
            }
        }
    }

    #[test]
    fn bad_numbers_are_named() {
        let read = |bytes: &[u8]| Reader::new(bytes).number();
        assert_eq!(read(&[]), Err(VarintError::Cut));
        assert_eq!(read(&[0x80]), Err(VarintError::Cut));
        assert_eq!(read(&[0x80, 0]), Err(VarintError::Overlong));
        assert_eq!(read(&[0xFF; 11]), Err(VarintError::TooLarge));
        assert_eq!(read(&[[0xFF; 9].as_slice(), &[1]].concat()), Ok(u64::MAX));
        assert_eq!(read(&[[0xFF; 9].as_slice(), &[2]].concat()), Err(VarintError::TooLarge));
    }
}
