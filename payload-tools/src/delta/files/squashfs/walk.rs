//! The regular files that the root directory and those below it name.

use std::io;
use std::mem::size_of;

use super::directory::{Entry, Kind, entries};
use super::fragments::Fragment;
use super::inode::{Inode, Regular};
use super::metadata::Table;
use super::runs::{BLOCK_COST, RUN_COST, Runs, block};
use super::superblock::Superblock;
use super::tables::Tables;
use super::{Flaw, passable};
use crate::delta::files::layout::{LaidFile, LaidPiece, Lie, Run};
use crate::delta::files::names::{Named, Names, rename};
use crate::delta::files::numbers::u32_at;

/// A walk through all directories.
pub(super) struct Walk<'a> {
    superblock: &'a Superblock,
    inodes: &'a Table,
    directories: &'a Table,
    fragments: &'a [Option<Fragment>],
    runs: &'a mut Runs,
    names: Names<u64>,
    files: Vec<LaidFile>,
    /// Bytes of directories and of lists of blocks that may still be read. No two share one,
    /// so there are not more than in the tables, unless the same ones are read again and again.
    names_left: usize,
    sizes_left: usize,
}

impl<'a> Walk<'a> {
    pub fn new(
        superblock: &'a Superblock,
        tables: &'a Tables,
        fragments: &'a [Option<Fragment>],
        runs: &'a mut Runs,
        names: Names<u64>,
    ) -> Self {
        Self {
            superblock,
            inodes: &tables.inodes,
            directories: &tables.directories,
            fragments,
            runs,
            names,
            files: Vec::new(),
            names_left: tables.directories.bytes.len(),
            sizes_left: tables.inodes.bytes.len(),
        }
    }

    pub fn files(mut self) -> io::Result<Vec<LaidFile>> {
        while let Some((inode, path)) = self.names.next_folder() {
            passable(self.folder(inode, &path))?;
        }
        Ok(self.files)
    }

    fn folder(&mut self, inode: u64, path: &[u8]) -> Result<(), Flaw> {
        let Inode::Directory(directory) = self.inode(inode)? else { return Err(Flaw::Damaged) };
        if directory.len == 0 {
            return Ok(());
        }
        let len = usize::try_from(directory.len).map_err(|_| Flaw::Damaged)?;
        let listing = self.directories.at(directory.block.into(), directory.offset)?;
        let listing = listing.get(..len).ok_or(Flaw::Damaged)?;
        self.names_left = self.names_left.checked_sub(len).ok_or(Flaw::Damaged)?;
        for entry in entries(listing) {
            self.entry(&entry, path)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, folder: &[u8]) -> Result<(), Flaw> {
        let path = match self.names.entry(entry.inode, folder, entry.name)? {
            Named::New(path) if entry.kind != Kind::Other => path,
            Named::Again(file, path) => {
                rename(&mut self.files[file].path, path);
                return Ok(());
            }
            Named::New(_) | Named::Nothing => return Ok(()),
        };
        match passable(self.inode(entry.inode))? {
            Some(Inode::Directory(_)) => self.names.is_folder(entry.inode, path),
            Some(Inode::Regular(file)) if file.len > 0 => {
                if let Some(pieces) = passable(self.pieces(&file))? {
                    self.names.is_file(entry.inode, self.files.len());
                    self.files.push(LaidFile { path, len: file.len, pieces });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// "Inode Table": a reference is a block and an offset in its content.
    fn inode(&self, reference: u64) -> Result<Inode<'a>, Flaw> {
        let bytes = self.inodes.at(reference >> 16, reference as u16)?;
        Inode::parse(bytes, self.superblock.block_size)
    }

    /// Where the content of a file lies; its blocks are added to the runs.
    fn pieces(&mut self, file: &Regular<'_>) -> Result<Vec<LaidPiece>, Flaw> {
        let left = self.sizes_left.checked_sub(file.sizes.len());
        self.sizes_left = left.ok_or(Flaw::Damaged)?;
        let mut pieces = Vec::new();
        for (at, run) in self.blocks(file)? {
            let content = 0..run.content_len();
            let index = self.runs.add(run).ok_or(Flaw::Damaged)?;
            pieces.push(LaidPiece { at, lie: Lie::Run { index, content } });
        }
        pieces.extend(self.end(file)?);
        Ok(pieces)
    }

    /// "Data and Fragment Blocks": the blocks of a file lie one behind the other, without those of
    /// zeroes only, which are not stored and end a run.
    fn blocks(&mut self, file: &Regular<'_>) -> Result<Vec<(u64, Run)>, Flaw> {
        let (codec, block_size) = (self.superblock.codec(), self.superblock.block_size);
        let mut runs: Vec<(u64, Run)> = Vec::new();
        let (mut at, mut start, mut is_open) = (0, file.start, false);
        for size in file.sizes.chunks_exact(4) {
            let left = u32::try_from(file.len - at).unwrap_or(u32::MAX);
            let (here, content) = (at, left.min(block_size));
            at += u64::from(content);
            let size = u32_at(size, 0)?;
            if size == 0 {
                is_open = false;
                continue;
            }
            let block = block(size, content)?;
            if !block.coded && block.stored != content {
                return Err(Flaw::Damaged);
            }
            self.names.take(BLOCK_COST)?;
            match runs.last_mut().filter(|_| is_open) {
                Some((_, run)) => run.blocks.push(block),
                None => {
                    self.names.take(RUN_COST + size_of::<LaidPiece>())?;
                    runs.push((here, Run { codec, start, blocks: vec![block] }));
                }
            }
            is_open = true;
            start = start.checked_add(block.stored.into()).ok_or(Flaw::Damaged)?;
        }
        Ok(runs)
    }

    /// What a file has in a fragment, behind its whole blocks.
    fn end(&mut self, file: &Regular<'_>) -> Result<Option<LaidPiece>, Flaw> {
        let len = file.len % u64::from(self.superblock.block_size);
        let Some((number, offset)) = file.fragment.filter(|_| len > 0) else { return Ok(None) };
        let number = usize::try_from(number).map_err(|_| Flaw::Damaged)?;
        let fragment = self.fragments.get(number).and_then(Option::as_ref);
        let fragment = fragment.ok_or(Flaw::Damaged)?;
        let start = fragment.content.start + u64::from(offset);
        let content = start..start + len;
        if content.end > fragment.content.end {
            return Err(Flaw::Damaged);
        }
        self.names.take(size_of::<LaidPiece>())?;
        Ok(Some(LaidPiece { at: file.len - len, lie: Lie::Run { index: fragment.run, content } }))
    }
}
