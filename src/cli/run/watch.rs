//! When has the file changed, or one that it names?
//!
//! What is watched are directories: editors and Kubernetes put another file in a file's place, and a watch on
//! the file itself would stay with the old one. Every link on the way counts, for it may be led elsewhere.
//! What tells are contents, so that other files in the same directories tell nothing.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{self, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::warn;

/// After so much quiet a file is taken for written: editors and secret managers take several steps.
const QUIET: Duration = Duration::from_millis(200);
/// After so long it is read although the directory never is quiet.
const QUIET_AWAITED_MAX: Duration = Duration::from_secs(2);
/// How many links a path may lead through, as for the kernel.
const LINKS_MAX: usize = 40;

/// Watches files, or none.
pub(super) struct Changes {
    told: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    files: Vec<PathBuf>,
    /// What stands in each of the files, as a hash; `None` where it cannot be read.
    contents: Vec<Option<u64>>,
    watched: BTreeSet<PathBuf>,
    /// Whether something has happened that has not been looked at.
    is_due: bool,
}

impl Changes {
    /// Watches nothing.
    pub(super) fn none() -> Self {
        Self {
            told: Arc::default(),
            watcher: None,
            files: Vec::new(),
            contents: Vec::new(),
            watched: BTreeSet::new(),
            is_due: false,
        }
    }

    /// Watches these files from here on.
    ///
    /// # Errors
    /// The system cannot watch any more.
    pub(super) fn watch(&mut self, files: Vec<PathBuf>) -> notify::Result<()> {
        if self.watcher.is_none() {
            let told = Arc::clone(&self.told);
            let tell = move |event: notify::Result<Event>| {
                // That somebody reads them, as we do, is no change. An error may hide one.
                if event.is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                told.notify_one();
            };
            self.watcher = Some(notify::recommended_watcher(tell)?);
        }
        if files != self.files {
            self.files = files;
            self.arm();
            self.contents = contents(&self.files);
        }
        Ok(())
    }

    /// Watches nothing any more.
    pub(super) fn stop(&mut self) {
        *self = Self::none();
    }

    /// Notes what stands in the files, as they are about to be read.
    pub(super) fn look(&mut self) {
        self.arm();
        self.contents = contents(&self.files);
    }

    /// Waits until something else stands in one of the files, and has done so for a moment.
    ///
    /// Nothing is lost where this is dropped early.
    pub(super) async fn changed(&mut self) {
        loop {
            if !self.is_due {
                self.told.notified().await;
                self.is_due = true;
            }
            let begun = Instant::now();
            while begun.elapsed() < QUIET_AWAITED_MAX
                && timeout(QUIET, self.told.notified()).await.is_ok()
            {}
            self.is_due = false;
            let before = std::mem::take(&mut self.contents);
            self.look();
            if self.contents != before {
                return;
            }
        }
    }

    /// Watches what leads to the files now.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for path in std::mem::take(&mut self.watched) {
            // What is gone is not watched any more.
            let _ = watcher.unwatch(&path);
        }
        for path in self.files.iter().flat_map(|file| leading_to(file)) {
            let is_directory = path.is_dir();
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path);
                }
                Err(error) if is_directory => {
                    let path = path.display();
                    warn!(%path, %error, "A directory cannot be watched; send SIGHUP after a change there.");
                }
                // The file is missing, and its directory tells when it comes.
                Err(_) => {}
            }
        }
    }
}

/// What must be watched to learn of every change at `path`: the directory of each link on the way, the
/// directory at its end, and the file itself, which may be mounted from elsewhere.
fn leading_to(path: &Path) -> BTreeSet<PathBuf> {
    let mut leading = BTreeSet::new();
    let mut path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..LINKS_MAX {
        let Some((link, target)) = first_link(&path) else {
            break;
        };
        let directory = link.parent().unwrap_or(Path::new("/"));
        let behind = path.strip_prefix(&link).unwrap_or(Path::new(""));
        let next = directory.join(target);
        let next = if behind.as_os_str().is_empty() {
            next
        } else {
            next.join(behind)
        };
        leading.insert(directory.to_owned());
        path = next;
    }
    if let Some(directory) = path.parent() {
        leading.insert(directory.to_owned());
    }
    leading.insert(path);
    leading
}

/// The first link on the way to `path`, and where it leads.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find_map(|step| Some((step.to_owned(), fs::read_link(step).ok()?)))
}

fn contents(files: &[PathBuf]) -> Vec<Option<u64>> {
    let hash = |file: &PathBuf| {
        let bytes = fs::read(file).ok()?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Some(hasher.finish())
    };
    files.iter().map(hash).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_in_which_something_may_be_swapped_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(at.join("mount/..2026")).unwrap();
        fs::create_dir(at.join("etc")).unwrap();
        fs::write(at.join("mount/..2026/proxy.toml"), "").unwrap();
        symlink("..2026", at.join("mount/..data")).unwrap();
        symlink("..data/proxy.toml", at.join("mount/proxy.toml")).unwrap();
        symlink(at.join("mount"), at.join("etc/weir")).unwrap();
        let expected = ["etc", "mount", "mount/..2026", "mount/..2026/proxy.toml"];
        let expected: BTreeSet<PathBuf> = expected.iter().map(|path| at.join(path)).collect();
        assert_eq!(leading_to(&at.join("etc/weir/proxy.toml")), expected);
        let missing = at.join("etc/missing.pem");
        assert_eq!(
            leading_to(&missing),
            BTreeSet::from([at.join("etc"), missing.clone()])
        );
    }

    #[test]
    fn links_in_a_circle_have_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        symlink(at.join("b"), at.join("a")).unwrap();
        symlink(at.join("a"), at.join("b")).unwrap();
        assert!(leading_to(&at.join("a")).len() <= 3 + LINKS_MAX);
    }
}
