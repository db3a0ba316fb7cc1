//! Processor and memory against the limits of control groups: both versions, as the kernel lays them out, and this machine's own.

use std::{fs, path::Path};

use steeple_metrics::indicator::{ResourceOptions, Resources};

const GIB: u64 = 1 << 30;

/// A machine of 4 processors and 16 GiB, on which the process has used 25 s and 64 MiB.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let common = [
        ("proc/self/status", "Name:\tshop\nVmRSS:\t   65536 kB\nCpus_allowed_list:\t0-3\n"),
        ("proc/self/stat", "1 (a shop) S 1 1 1 0 -1 0 0 0 0 0 2000 500 0 0 20 0 1 0 1 1 1\n"),
        ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n"),
        ("proc/stat", "cpu  1 1\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\nintr 1\n"),
    ];
    for (path, text) in common.iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn read(root: &Path) -> Resources {
    Resources::read(&ResourceOptions::new().root(root))
}

#[track_caller]
fn check(files: &[(&str, &str)], cores: f64, seconds: f64, memory: (u64, u64), is_limited: bool) -> Resources {
    let root = machine(files);
    let found = read(root.path());
    let (cpu, used) = (found.cpu.unwrap(), found.memory.unwrap());
    assert_eq!((cpu.limit_cores, cpu.used_seconds), (cores, seconds));
    assert_eq!((used.used_bytes, used.limit_bytes), memory);
    assert_eq!(found.is_limited, is_limited);
    found
}

#[test]
fn without_groups_the_limits_are_the_machines_and_the_use_is_the_processes() {
    check(&[], 4.0, 25.0, (64 << 20, 16 * GIB), false);
}

#[test]
fn a_fraction_of_a_processor_and_a_limit_of_memory_of_version_2() {
    let files = [
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 12500000\nnr_periods 100\nnr_throttled 30\n"),
        ("sys/fs/cgroup/memory.max", "536870912\n"),
        ("sys/fs/cgroup/memory.current", "419430400\n"),
        ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 104857600\n"),
    ];
    let found = check(&files, 0.5, 12.5, (300 << 20, 512 << 20), true);
    let cpu = found.cpu.unwrap();
    assert_eq!((cpu.periods, cpu.throttled_periods), (100, 30));
}

#[test]
fn the_smallest_limit_up_to_the_root_counts_and_max_is_none() {
    let files = [
        ("proc/self/cgroup", "0::/kubepods/pod1/shop\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/kubepods/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/kubepods/memory.max", "8589934592\n"),
        ("sys/fs/cgroup/kubepods/pod1/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/kubepods/pod1/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/kubepods/pod1/memory.high", "2147483648\n"),
        ("sys/fs/cgroup/kubepods/pod1/shop/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/kubepods/pod1/shop/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/kubepods/pod1/shop/cpu.stat", "usage_usec 1000000\n"),
        ("sys/fs/cgroup/kubepods/pod1/shop/memory.max", "max\n"),
        ("sys/fs/cgroup/kubepods/pod1/shop/memory.current", "1073741824\n"),
    ];
    check(&files, 1.5, 1.0, (GIB, 2 * GIB), true);
}

#[test]
fn a_group_of_version_2_without_limits_is_measured_against_the_machine() {
    let files = [
        ("proc/self/cgroup", "0::/system.slice/shop.service\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/system.slice/shop.service/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/system.slice/shop.service/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/system.slice/shop.service/cpu.stat", "usage_usec 3000000\n"),
        ("sys/fs/cgroup/system.slice/shop.service/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/shop.service/memory.current", "1073741824\n"),
    ];
    check(&files, 4.0, 3.0, (GIB, 16 * GIB), false);
}

#[test]
fn limits_of_version_1_count_also_where_the_group_is_mounted_at_the_top() {
    for path in ["/docker/4f2a", "/"] {
        let groups = format!("4:memory:{path}\n3:cpu,cpuacct:{path}\n0::/\n");
        let files = [
            ("proc/self/cgroup", groups.as_str()),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "7000000000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 10\nnr_throttled 4\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "209715200\n"),
            (
                "sys/fs/cgroup/memory/memory.stat",
                "total_inactive_file 104857600\nhierarchical_memory_limit 268435456\n",
            ),
        ];
        let found = check(&files, 0.25, 7.0, (100 << 20, 256 << 20), true);
        assert_eq!(found.cpu.unwrap().throttled_periods, 4);
    }
}

#[test]
fn no_limit_of_version_1_is_a_huge_number_or_minus_one() {
    let files = [
        ("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpuacct.usage", "7000000000\n"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "209715200\n"),
    ];
    check(&files, 4.0, 7.0, (200 << 20, 16 * GIB), false);
}

#[test]
fn limits_that_are_set_hold_for_the_process_alone() {
    let root = machine(&[("proc/self/cgroup", "0::/\n")]);
    let options = ResourceOptions::new().root(root.path()).cpu_limit(0.5).memory_limit(128 << 20);
    let found = Resources::read(&options);
    let (cpu, memory) = (found.cpu.unwrap(), found.memory.unwrap());
    assert_eq!((cpu.limit_cores, cpu.used_seconds, memory.used_ratio()), (0.5, 25.0, 0.5));
    assert!(found.is_limited);
    // Values that are not limits are ignored.
    let none = ResourceOptions::new().root(root.path()).cpu_limit(f64::NAN).memory_limit(0);
    assert_eq!(Resources::read(&none), read(root.path()));
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_has_processors_and_memory_and_time_passes_on_it() {
    let options = ResourceOptions::new();
    let before = Resources::read(&options);
    let (cpu, memory) = (before.cpu.unwrap(), before.memory.unwrap());
    assert!(cpu.limit_cores > 0.0 && memory.used_ratio() > 0.0 && memory.used_ratio() < 1.0, "{before:?}");
    let mut number = 1_u64;
    // Ticks are a hundredth of a second.
    while Resources::read(&options).cpu.unwrap().used_seconds < cpu.used_seconds + 0.05 {
        for _ in 0..1_000_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
