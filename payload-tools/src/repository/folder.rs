use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::draft::{Draft, DraftError};
use super::published::published_name;
use super::state::{FIRST_ROOT, State, newest_file, root_chain, versions};
use crate::durable_file::{self, Existing, Readers};
use crate::format::{Compatible, Release};
use crate::keyring::{Keyring, KeyringError, Secrets};
use crate::trust::metadata::{Targets, Unverified, same_content};
use crate::trust::root_chain::RootChain;
use crate::trust::{Files, Limits, Misbehaviour, Role, path_of};

/// A publisher's folder: `metadata/` (every version of every file that was made by `payload init` or
/// taken by a server), `draft/` (changes that are not published yet, and their signatures so far) and,
/// unless they are elsewhere, `keys/` (private).
#[derive(Clone, Debug)]
pub struct PublisherFolder {
    path: PathBuf,
    keys: PathBuf,
    secrets: Secrets,
}

impl PublisherFolder {
    /// The folder at that path, which need not exist.
    pub fn at(path: &Path) -> Self {
        let (path, keys) = (path.to_owned(), path.join("keys"));
        Self { path, keys, secrets: Secrets::default() }
    }

    /// The same with its keys in another folder.
    pub fn with_keys(self, keys: &Path) -> Self {
        Self { keys: keys.to_owned(), ..self }
    }

    /// The same with what opens its keys, where no terminal is to be asked.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Where the first root of trust is: images carry it.
    pub fn first_root(&self) -> PathBuf {
        self.metadata().join(FIRST_ROOT)
    }

    /// Where the metadata is.
    pub fn metadata(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Where changes are that are not published.
    pub fn draft_folder(&self) -> PathBuf {
        self.path.join("draft")
    }

    /// Where the private keys are.
    pub fn keys_folder(&self) -> &Path {
        &self.keys
    }

    /// Looks at the private keys.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.keys, self.secrets.clone())
    }

    /// Whether `payload init` was here, or something was published from here.
    pub fn is_begun(&self) -> bool {
        self.first_root().exists()
    }

    /// The newest state that is known here; nothing before the repository is born.
    pub fn state(&self) -> Result<Option<State>, FolderError> {
        State::load(&self.read_metadata()?).map_err(self.in_metadata())
    }

    /// The roots that are known here, for what a server has to be proven by.
    pub(crate) fn root_chain(&self) -> Result<Option<RootChain>, FolderError> {
        root_chain(&self.read_metadata()?).map_err(self.in_metadata())
    }

    fn in_metadata(&self) -> impl Fn(DraftError) -> FolderError {
        let folder = self.metadata();
        move |error| match error {
            DraftError::Damaged { name, source } if name == FIRST_ROOT => {
                FolderError::FirstRoot { path: folder.join(name), source }
            }
            DraftError::Damaged { name, source } => {
                FolderError::Metadata { path: folder.join(name), source }
            }
            other => other.into(),
        }
    }

    /// What is changed and not published.
    pub fn draft(&self) -> Result<Draft, FolderError> {
        self.draft_on(self.state()?)
    }

    /// The same on top of what a server has published, as far as it has.
    pub fn draft_on(&self, state: Option<State>) -> Result<Draft, FolderError> {
        let files = self.read_metadata()?;
        let state = state.map(|state| state.with_past(&files));
        Draft::load(state, &self.read_draft()?).map_err(|error| match error {
            DraftError::Damaged { name, source } => {
                FolderError::InDraft { path: self.draft_folder().join(name), source }
            }
            other => other.into(),
        })
    }

    /// Version of the newest snapshot that was published from here.
    pub fn snapshot_version(&self) -> io::Result<Option<u64>> {
        Ok(newest_file(&self.read_metadata()?, &Role::Snapshot).map(|(version, _)| version))
    }

    /// Every file of `metadata/`.
    pub fn read_metadata(&self) -> io::Result<Files> {
        read_files(&self.metadata())
    }

    /// The releases that a draft lists again although they were withdrawn, in words: by the versions of
    /// roles that are known here, or by what `told` knows.
    pub(crate) fn relisted(
        &self,
        draft: &Draft,
        told: &dyn Fn(&Compatible, &Release) -> Option<String>,
    ) -> Result<Vec<(Compatible, String)>, FolderError> {
        let mut relisted = Vec::new();
        for (compatible, release) in draft.newly_listed()? {
            let Some(state) = draft.state() else { continue };
            let before = match self.listed_in(state, &compatible, &release)? {
                Some(version) => Some(format!(
                    "version {version} of {compatible} listed it, and it was withdrawn"
                )),
                None => told(&compatible, &release),
            };
            if let Some(before) = before {
                relisted
                    .push((compatible, format!("release {release} is not listed now: {before}")));
            }
        }
        Ok(relisted)
    }

    /// The last version of a compatible's role that lists a release, of those up to the one in `state`
    /// that are known here.
    fn listed_in(
        &self,
        state: &State,
        compatible: &Compatible,
        release: &Release,
    ) -> io::Result<Option<u64>> {
        let (role, path) = (Role::from(compatible), path_of(compatible, release));
        let last = state.version_of(compatible);
        let lists = |bytes: &[u8]| {
            Unverified::<Targets>::parse(&role, bytes)
                .is_ok_and(|file| file.claims().targets.contains_key(&path))
        };
        let files = self.read_metadata()?;
        let versions = versions(&files, &role).filter(|(version, _)| *version <= last);
        Ok(versions.filter(|(_, bytes)| lists(bytes)).map(|(version, _)| version).max())
    }

    /// Every file of `draft/`.
    pub fn read_draft(&self) -> io::Result<Files> {
        read_files(&self.draft_folder())
    }

    /// Writes a state's files into `metadata/`: once a server has taken them, or when they name no
    /// release. What was a draft until then is none any more.
    pub fn store(&self, state: &State) -> io::Result<()> {
        let files = state.files();
        // By the first root it is known that a repository was begun: whole, so it comes last.
        let (first, others): (Files, Files) =
            files.clone().into_iter().partition(|(name, _)| name == FIRST_ROOT);
        write_files(&self.metadata(), &others)?;
        write_files(&self.metadata(), &first)?;
        let snapshot = state.snapshot_version().map(|last| published_name(&Role::Snapshot, last));
        // Nobody decided anything in a snapshot; another content of any other file is somebody's
        // word, and to be looked at.
        let is_done = |name: &str, bytes: &[u8]| {
            snapshot.as_deref() == Some(name)
                || files.get(name).is_some_and(|taken| same_content(taken, bytes))
        };
        self.leave_out(is_done)
    }

    /// Writes a draft into `draft/`, in place of the one that is there.
    pub fn store_draft(&self, draft: &Draft) -> io::Result<()> {
        let files = draft.files();
        if !files.is_empty() {
            write_files(&self.draft_folder(), &files)?;
        }
        self.leave_out(|name, _| !files.contains_key(name))
    }

    /// Keeps a draft: in `draft/`, or, once a repository that begins is signed as a whole, as the
    /// state to go on from.
    pub fn keep(&self, draft: &Draft) -> Result<(), FolderError> {
        if draft.state().is_none() && draft.complete().is_ok() {
            return Ok(self.store(&draft.finish()?)?);
        }
        Ok(self.store_draft(draft)?)
    }

    /// Removes files of the draft; the folder too if it is empty then.
    pub fn leave_out(&self, unwanted: impl Fn(&str, &[u8]) -> bool) -> io::Result<()> {
        let files = self.read_draft()?;
        let (gone, left): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, bytes)| unwanted(name, bytes));
        for (name, _) in gone {
            fs_err::remove_file(self.draft_folder().join(name))?;
        }
        if left.is_empty() && self.draft_folder().exists() {
            // Something else may be in it, which is not ours to remove.
            let _kept = fs_err::remove_dir(self.draft_folder());
        }
        Ok(())
    }
}

/// Every file of a folder that is named as metadata is published; none of a folder that does not
/// exist. The folder may be a stranger's: a link or more than a device reads is refused.
fn read_files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    if folder.exists() {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some((name, role)) = name.and_then(|name| Some((name, published_role(name)?))) {
                files.insert(name.to_owned(), read_bounded(&path, Limits::default().of(&role))?);
            }
        }
    }
    Ok(files)
}

/// Whose file is published by that name.
fn published_role(name: &str) -> Option<Role> {
    let (version, role) = name.strip_suffix(".json")?.split_once('.')?;
    let (version, role) = (version.parse().ok()?, role.parse().ok()?);
    (published_name(&role, version) == name).then_some(role)
}

fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let refuse = |what: String| {
        let path = path.display();
        let text = format!("{path} is {what}; take it out of the folder, or fetch it anew");
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if !fs_err::symlink_metadata(path)?.is_file() {
        return Err(refuse("no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(refuse(format!("larger than the {max} bytes that devices read")));
    }
    Ok(bytes)
}

/// Why a publisher's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("the publisher's folder cannot be used")]
    Io(#[from] io::Error),
    /// A file of its metadata is damaged, or another repository's.
    #[error("{} does not verify; remove it, and `payload pull` fetches it again", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Misbehaviour,
    },
    /// So is the file by which all others are proven.
    #[error(
        "{} does not verify; copy it anew from who began the repository, or from an image that carries it",
        path.display()
    )]
    FirstRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Misbehaviour,
    },
    /// A file of its draft is damaged.
    #[error(
        "{} does not verify; have it carried here again, or drop it with `payload draft discard` and make \
         the change again",
        path.display()
    )]
    InDraft {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Misbehaviour,
    },
    /// Its metadata is incomplete or does not verify.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// Writes files, each whole, which everyone may read.
pub(crate) fn write_files(folder: &Path, files: &Files) -> io::Result<()> {
    durable_file::make_folder(folder, Readers::Everyone)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        durable_file::write(&path, bytes, Readers::Everyone, Existing::Replace)?;
    }
    Ok(())
}
