//! The embedded store and its file: durability, and disks that fail. What all providers do alike is in `store_contract`.

mod disk;

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, TableDefinition};
use sluice::base::task;
use sluice::store::{Change, Embedded, Listing, Op, Store, StoreError};
use sluice::telemetry::Metrics;
use tokio::time::{Instant, timeout};

use self::disk::{Cached, Disk, OnDisk};
use super::store_contract::{apply, delete, lease, next, ops, put, reset};

/// Revisions of creation and change, the lease's end, the value.
type Record = (u64, u64, Option<u64>, &'static [u8]);
/// The file's main table, as every version of this program has to read it.
const ENTRIES: TableDefinition<'static, &str, Record> = TableDefinition::new("sluice.entries");

async fn open(path: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(path, Metrics::new().unwrap()).await
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    (dir, path)
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable { reason }) => reason,
        other => panic!("not unavailable but {other:?}"),
    }
}

fn unusable(answer: Result<Embedded, StoreError>, path: &Path) -> String {
    match answer {
        Err(StoreError::Unusable { path: named, reason }) => {
            assert_eq!(named, path.display().to_string());
            reason
        }
        other => panic!("not unusable but {other:?}"),
    }
}

fn says(metrics: &Metrics, line: &str) -> bool {
    String::from_utf8(metrics.encode().unwrap()).unwrap().lines().any(|l| l == line)
}

async fn on_disk(path: &Path, metrics: &Metrics) -> (Embedded, Arc<Disk>) {
    let disk = Arc::new(Disk::default());
    let (file, shared) = (path.to_owned(), disk.clone());
    let make = move || {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
        Ok(OnDisk(FileBackend::new(file).map_err(io::Error::other)?, shared.clone()))
    };
    (Embedded::with_backend(path, make, metrics.clone()).await.unwrap(), disk)
}

async fn on_cached(disk: &Cached) -> Embedded {
    let disk = disk.clone();
    Embedded::with_backend(Path::new("cached"), move || Ok(disk.clone()), Metrics::new().unwrap()).await.unwrap()
}

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("sluice.meta");
const OTHERS: TableDefinition<'static, u64, u64> = TableDefinition::new("others");

#[tokio::test]
async fn a_file_opened_again_is_the_same_store() {
    let (_dir, path) = place();
    let store = open(&path).await.unwrap();
    store.commit(ops([put("/a", "1"), put("/b", "1"), put("/c", "1")])).await.unwrap();
    store.commit(ops([put("/a", "2"), delete("/b")])).await.unwrap();
    store.commit(ops([put("/b", "3"), lease("/d", 1000)])).await.unwrap();
    let before = store.list("").await.unwrap();
    store.close().await;
    for _ in 0..3 {
        let store = open(&path).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), before);
        drop(store);
    }
    let store = open(&path).await.unwrap();
    assert_eq!(reset(&mut store.subscribe("").await.unwrap()).await, before);
    assert_eq!(store.commit(ops([put("/a", "4")])).await.unwrap(), 4);
    let a = store.get("/a").await.unwrap().unwrap();
    assert_eq!((a.created, a.modified), (1, 4));
}

#[tokio::test]
async fn missing_directories_are_made_and_nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = place();
    let path = dir.path().join("var/lib/sluice/store.redb");
    open(&path).await.unwrap().commit(ops([put("/a", "1")])).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_write_is_neither_seen_nor_answered_before_its_fsync() {
    let (_dir, path) = place();
    let (store, disk) = on_disk(&path, &Metrics::new().unwrap()).await;
    let store = Arc::new(store);
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    disk.forget_syncs().await;
    disk.hold(true);
    let writer = store.clone();
    let write = task::spawn(async move { writer.commit(ops([put("/a", "1")])).await });
    disk.reaches_sync().await;
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![], at: 0 });
    assert!(!write.is_finished());
    assert!(timeout(Duration::ZERO, subscription.next()).await.is_err());
    disk.hold(false);
    assert_eq!(write.await.unwrap().unwrap(), 1);
    assert_eq!(apply(&mut subscription).await.1, 1);
}

#[tokio::test]
async fn a_write_whose_caller_is_gone_still_happens() {
    let (_dir, path) = place();
    let (store, disk) = on_disk(&path, &Metrics::new().unwrap()).await;
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    disk.forget_syncs().await;
    disk.hold(true);
    tokio::select! {
        answer = store.commit(ops([put("/a", "1")])) => panic!("answered before its fsync: {answer:?}"),
        () = disk.reaches_sync() => {}
    }
    disk.hold(false);
    assert_eq!(apply(&mut subscription).await.1, 1);
    store.close().await;
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap().at, 1);
}

#[tokio::test]
async fn a_failed_fsync_refuses_the_write_for_good() {
    let (dir, path) = place();
    let metrics = Metrics::new().unwrap();
    let (store, disk) = on_disk(&path, &metrics).await;
    store.commit(ops([put("/a", "1"), lease("/l", 1000)])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    let before = reset(&mut subscription).await;
    assert!(says(&metrics, "sluice_store_up 1"));

    disk.fail_syncs(u32::MAX);
    let reason = unavailable(store.commit(ops([put("/a", "2"), put("/refused", "x"), delete("/l")])).await);
    assert!(reason.contains("Input/output error"), "{reason}");
    assert!(disk.faults() > 0);
    assert!(says(&metrics, "sluice_store_up 0") && says(&metrics, r#"sluice_store_errors_total{op="commit"} 1"#));
    let copy = dir.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    assert!(open(&copy).await.unwrap().get("/refused").await.unwrap().is_some(), "the fault left it in the file");
    unavailable(store.commit(ops([put("/refused", "y")])).await);

    assert_eq!(store.list("").await.unwrap(), before, "reads go on");
    assert_eq!(reset(&mut store.subscribe("").await.unwrap()).await, before, "subscriptions go on");
    assert!(timeout(Duration::ZERO, subscription.next()).await.is_err(), "nothing was published");

    disk.fail_syncs(0);
    assert_eq!(store.commit(ops([put("/b", "3")])).await.unwrap(), 2);
    assert!(says(&metrics, "sluice_store_up 1"));
    assert_eq!(apply(&mut subscription).await.1, 2);
    let after = store.list("").await.unwrap();
    store.close().await;
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap(), after);
}

#[tokio::test]
async fn a_single_failed_fsync_is_undone_without_another_write() {
    let (dir, path) = place();
    let (store, disk) = on_disk(&path, &Metrics::new().unwrap()).await;
    store.commit(ops([put("/a", "1")])).await.unwrap();
    disk.fail_syncs(1);
    unavailable(store.commit(ops([put("/a", "2")])).await);
    assert_eq!(disk.faults(), 1);
    let copy = dir.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(open(&copy).await.unwrap().list("").await.unwrap(), store.list("").await.unwrap());
}

#[tokio::test]
async fn a_panic_while_writing_is_a_fault_like_others() {
    let (_dir, path) = place();
    let (store, disk) = on_disk(&path, &Metrics::new().unwrap()).await;
    store.commit(ops([put("/a", "1")])).await.unwrap();
    Disk::set(&disk.panics_in_syncs, true);
    unavailable(store.commit(ops([put("/a", "2"), put("/b", "2")])).await);
    assert_eq!(disk.faults(), 1);
    assert_eq!(store.commit(ops([put("/c", "3")])).await.unwrap(), 2);
    let after = store.list("").await.unwrap();
    store.close().await;
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap(), after);
}

#[tokio::test]
async fn a_power_cut_after_a_healed_fault_loses_nothing() {
    let cached = Cached::default();
    let store = on_cached(&cached).await;
    let many: Vec<_> = (0..600).map(|n| put(&format!("/{n:03}"), "a value of some length, so that the tree has many pages")).collect();
    store.commit(ops(many)).await.unwrap();
    for n in 0..40_u32 {
        // it splits pages: what is undone leaves the halves behind
        let refused: Vec<_> = (0..3).map(|k| put(&format!("/{:03}/new", (n * 17 + k * 150) % 600), &"x".repeat(2000))).collect();
        // the write itself, and some of the tries to open the file again
        cached.fail_syncs(1 + n % 3);
        unavailable(store.commit(ops(refused)).await);
        while store.commit(ops([put("/counter", &n.to_string())])).await.is_err() {}
        let found = on_cached(&cached.after_power_cut()).await;
        assert_eq!(found.list("").await.unwrap(), store.list("").await.unwrap(), "after write {n}");
    }
    assert!(cached.lost() > 40, "pages were lost");
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_heals() {
    let (_dir, path) = place();
    let metrics = Metrics::new().unwrap();
    let (store, disk) = on_disk(&path, &metrics).await;
    store.commit(ops([put("/a", "1")])).await.unwrap();
    Disk::set(&disk.is_full, true);
    for _ in 0..3 {
        let reason = unavailable(store.commit(ops([put("/a", "2")])).await);
        assert!(reason.contains("No space left on device"), "{reason}");
    }
    assert!(disk.faults() >= 3);
    assert!(says(&metrics, "sluice_store_up 0") && says(&metrics, r#"sluice_store_errors_total{op="commit"} 3"#));
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "1");
    Disk::set(&disk.is_full, false);
    assert_eq!(store.commit(ops([put("/a", "3")])).await.unwrap(), 2);
    store.close().await;
    assert_eq!(open(&path).await.unwrap().get("/a").await.unwrap().unwrap().value, "3");
}

/// In real time: across a restart leases follow the wall clock, which no runtime pauses.
#[tokio::test]
async fn a_lease_goes_on_over_a_restart() {
    let (_dir, path) = place();
    let store = open(&path).await.unwrap();
    let began = Instant::now();
    store.commit(ops([lease("/l", 4), put("/p", "x")])).await.unwrap();
    store.close().await;
    let store = open(&path).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    assert_eq!(reset(&mut subscription).await.entries.len(), 2);
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/l".into(), at: 2 }], 2));
    assert!(began.elapsed() >= Duration::from_secs(4), "not before its time: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_lease_that_ended_while_nobody_looked_ends_at_the_start() {
    let (_dir, path) = place();
    let store = open(&path).await.unwrap();
    store.commit(ops([lease("/l", 1000), put("/p", "x")])).await.unwrap();
    store.close().await;
    {
        let file = Database::open(&path).unwrap();
        let txn = file.begin_write().unwrap();
        let record: Record = (1, 1, Some(1), b"leased");
        txn.open_table(ENTRIES).unwrap().insert("/l", record).unwrap();
        txn.commit().unwrap();
    }
    let store = open(&path).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    let mut at = reset(&mut subscription).await;
    if at.at == 1 {
        next(&mut subscription).await;
        at = store.list("").await.unwrap();
    }
    assert_eq!((at.at, at.entries.len()), (2, 1));
    store.close().await;
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap(), at, "the delete is in the file");
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_end_cannot_be_written_ends_when_it_can() {
    let (_dir, path) = place();
    let metrics = Metrics::new().unwrap();
    let (store, disk) = on_disk(&path, &metrics).await;
    store.commit(ops([lease("/l", 10)])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    disk.fail_syncs(u32::MAX);
    assert!(timeout(Duration::from_secs(15), subscription.next()).await.is_err());
    assert!(disk.faults() > 0);
    // tries at 10, 11 and 13 seconds
    assert!(says(&metrics, r#"sluice_store_errors_total{op="expire"} 3"#));
    assert!(store.get("/l").await.unwrap().is_some());
    disk.fail_syncs(0);
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/l".into(), at: 2 }], 2));
}

#[tokio::test]
async fn what_is_no_store_is_not_touched() {
    let (dir, path) = place();
    for garbage in [b"listen: 9100\n".to_vec(), vec![0; 1 << 20], vec![0xA5; 100_000]] {
        std::fs::write(&path, &garbage).unwrap();
        unusable(open(&path).await, &path);
        assert!(std::fs::read(&path).unwrap() == garbage);
    }
    unusable(open(dir.path()).await, dir.path());
    let below = path.join("store.redb");
    unusable(open(&below).await, &below);
}

#[tokio::test]
async fn another_programs_database_is_not_taken() {
    let (_dir, path) = place();
    let write = |format: Option<u64>| {
        let file = Database::create(&path).unwrap();
        let txn = file.begin_write().unwrap();
        txn.open_table(OTHERS).unwrap().insert(1, 1).unwrap();
        if let Some(format) = format {
            txn.open_table(META).unwrap().insert("format", format).unwrap();
        }
        txn.commit().unwrap();
    };
    write(None);
    assert!(unusable(open(&path).await, &path).contains("a table others"));
    write(Some(2));
    assert!(unusable(open(&path).await, &path).contains("its format is 2"));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (_dir, path) = place();
    let store = open(&path).await.unwrap();
    for n in 0..50 {
        store.commit(ops([Op::Put { key: format!("/{n}"), value: vec![n; 5000].into(), ttl: None }])).await.unwrap();
    }
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 100, 5000, whole.len() / 2] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        unusable(open(&path).await, &path);
    }
    let mut scribbled = whole.clone();
    scribbled.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x55);
    std::fs::write(&path, scribbled).unwrap();
    unusable(open(&path).await, &path);
    std::fs::write(&path, whole).unwrap();
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap().entries.len(), 50);
}

/// Says to a test that it is a process of its own, and where its store is.
const CHILD: &str = "SLUICE_TEST_STORE";

/// A test of this binary again, as a process of its own: there it finds itself to be [`inside`].
fn child(test: &str, path: &Path) -> Command {
    within(Command::new(std::env::current_exe().unwrap()), test, path)
}

fn within(mut command: Command, test: &str, path: &Path) -> Command {
    command.args([&format!("store_embedded::{test}"), "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, path).stdin(Stdio::null());
    command
}

/// Where the store of this process is, if it is the child of a test.
fn inside() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

#[tokio::test]
async fn a_file_belongs_to_one_process_at_a_time() {
    if let Some(path) = inside() {
        return child_opens(&path).await;
    }
    let (_dir, path) = place();
    let store = open(&path).await.unwrap();
    store.commit(ops([put("/a", "1")])).await.unwrap();
    let said = String::from_utf8(child("a_file_belongs_to_one_process_at_a_time", &path).output().unwrap().stdout).unwrap();
    let expected = StoreError::InUse { path: path.display().to_string() }.to_string();
    assert!(said.contains(&format!("refused: {expected}")), "{said}");
    assert_eq!(store.commit(ops([put("/a", "2")])).await.unwrap(), 2);
    // whoever comes by redb itself is refused too, and so is the store if redb has the file
    let raw = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let raw = redb::Builder::new().create_with_backend(FileBackend::new(raw).unwrap());
    assert!(matches!(raw, Err(redb::DatabaseError::DatabaseAlreadyOpen)));
    store.close().await;
    let raw = Database::open(&path).unwrap();
    assert!(matches!(open(&path).await, Err(StoreError::InUse { .. })));
    drop(raw);
    let said = String::from_utf8(child("a_file_belongs_to_one_process_at_a_time", &path).output().unwrap().stdout).unwrap();
    assert!(said.contains("opened at 2"), "{said}");
}

async fn child_opens(path: &Path) {
    match open(path).await {
        Ok(store) => println!("opened at {}", store.list("").await.unwrap().at),
        Err(error) => println!("refused: {error}"),
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(path) = inside() {
        return child_writes(&path).await;
    }
    let (_dir, path) = place();
    let mut known = 0;
    for round in 1..=3_u64 {
        let mut writer = child("a_killed_process_loses_nothing_that_it_acknowledged", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| line.rsplit_once("wrote ")?.1.parse::<u64>().ok());
        let last = acknowledged.by_ref().find(|at| *at >= known + 20 * round).expect("the child writes");
        writer.kill().unwrap();
        // what it still managed to say before it died counts as well
        let last = acknowledged.last().unwrap_or(last);
        assert!(!writer.wait().unwrap().success(), "it was killed");
        let store = open(&path).await.unwrap();
        let listing = store.list("").await.unwrap();
        assert!(listing.at >= last, "{} was acknowledged, {} is there", last, listing.at);
        let revisions: Vec<_> = listing.entries.iter().map(|entry| entry.modified).collect();
        assert_eq!(revisions, (1..=listing.at).collect::<Vec<_>>());
        known = listing.at;
        store.close().await;
    }
}

async fn child_writes(path: &Path) {
    let store = open(path).await.unwrap();
    let from = store.list("").await.unwrap().at;
    for n in from + 1..from + 1_000_000 {
        let at = store.commit(ops([put(&format!("/{n:08}"), "x")])).await.unwrap();
        println!("wrote {at}");
    }
}

/// A small disk of the kernel's own, in a mount namespace that ends with the child.
#[tokio::test]
async fn a_disk_that_is_really_full_refuses_and_heals() {
    if let Some(dir) = inside() {
        return child_fills_its_disk(&dir).await;
    }
    let (dir, _) = place();
    let mut unshare = Command::new("unshare");
    unshare.args(if rustix::process::getuid().is_root() { ["-m"].as_slice() } else { ["-r", "-m"].as_slice() });
    unshare.args(["sh", "-c", r#"mount -t tmpfs -o size=4m none "$SLUICE_TEST_STORE" || exit 77; exec "$0" "$@""#]);
    unshare.arg(std::env::current_exe().unwrap());
    let done = within(unshare, "a_disk_that_is_really_full_refuses_and_heals", dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("was full and healed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

async fn child_fills_its_disk(dir: &Path) {
    let path = dir.join("store.redb");
    std::fs::write(dir.join("ballast"), vec![1; 1 << 20]).unwrap();
    let store = open(&path).await.unwrap();
    let big = |n: u64| ops([Op::Put { key: format!("/{n:03}"), value: vec![7; 100_000].into(), ttl: None }]);
    let mut n = 0;
    let reason = loop {
        n += 1;
        match store.commit(big(n)).await {
            Ok(at) => assert!(at == n && n < 100, "the disk is small"),
            refused => break unavailable(refused),
        }
    };
    assert!(reason.contains("No space left on device"), "{reason}");
    let before = store.list("").await.unwrap();
    assert!(before.at == n - 1 && before.entries.len() > 3);
    unavailable(store.commit(big(n)).await);
    std::fs::remove_file(dir.join("ballast")).unwrap();
    assert_eq!(store.commit(big(n)).await.unwrap(), n);
    let after = store.list("").await.unwrap();
    store.close().await;
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap(), after);
    println!("was full and healed at {n}");
}
