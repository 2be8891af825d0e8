//! How much memory does the control group of this process allow?

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The least of all that the groups above the process allow, in bytes; `None` where there is no limit, or
/// no control group.
pub(super) fn memory_max_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_limit(&groups, Path::new("/sys/fs/cgroup"))
}

/// The least limit in the tree at `root` on the way to the `groups` of a process.
fn least_limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        // What is mounted in a container begins at its own group, which then stands at the root.
        if controllers.is_empty() {
            return on_the_way(root, path, &["memory.max", "memory.high"]);
        }
        let is_memory = controllers.split(',').any(|name| name == "memory");
        let root = is_memory.then(|| root.join("memory"))?;
        on_the_way(&root, path, &["memory.limit_in_bytes"])
    });
    limits.min()
}

fn on_the_way(root: &Path, path: &str, files: &[&str]) -> Option<u64> {
    let group: PathBuf = root.join(path.trim_start_matches('/'));
    let groups = group
        .ancestors()
        .take_while(|group| group.starts_with(root));
    let limits = groups.flat_map(|group| files.iter().filter_map(|file| limit(&group.join(file))));
    limits.min()
}

fn limit(file: &Path) -> Option<u64> {
    let bytes = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    // Version 1 says "no limit" by the greatest number of pages.
    (bytes < UNLIMITED).then_some(bytes)
}

/// More than any machine has.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_on_the_way_counts() {
        let root = tree(&[
            ("a/memory.max", "3000000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.high", "2000000\n"),
            ("a/b/c/memory.max", "4000000\n"),
            ("z/memory.max", "1\n"),
        ]);
        let limit = |group: &str| least_limit(&format!("0::{group}\n"), root.path());
        assert_eq!(limit("/a/b/c"), Some(2_000_000));
        assert_eq!(limit("/a"), Some(3_000_000));
        assert_eq!(limit("/"), None);
        assert_eq!(limit("/nowhere"), None);
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_root() {
        let root = tree(&[("memory.max", "5000000\n")]);
        assert_eq!(least_limit("0::/\n", root.path()), Some(5_000_000));
        // Without a namespace of its own, the path is the host's.
        let host = least_limit("0::/kubepods/pod1\n", root.path());
        assert_eq!(host, Some(5_000_000));
    }

    #[test]
    fn version_1_is_understood() {
        let root = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/x/memory.limit_in_bytes", "6000000\n"),
        ]);
        let limit = |group: &str| {
            let groups = format!("5:cpu,cpuacct:{group}\n4:memory:{group}\n1:name=systemd:/\n");
            least_limit(&groups, root.path())
        };
        assert_eq!(limit("/docker/x"), Some(6_000_000));
        assert_eq!(limit("/docker"), None);
    }
}
