//! One suite of cases over every store: what one promises, all promise.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise, and nobody imports it"
)]

#[path = "conformance/kit.rs"]
mod kit;
#[path = "conformance/log.rs"]
mod log;
#[path = "conformance/reading.rs"]
mod reading;
#[path = "conformance/retention.rs"]
mod retention;
#[path = "conformance/sqlite.rs"]
mod sqlite;
#[path = "conformance/tags.rs"]
mod tags;

use kit::{completed, enqueued, insert, live, memory, named, tagged, txn};
use outhaul_core::engine::Effect;
use outhaul_core::model::TaskStatus;
use outhaul_core::model::task_id::generated_id;
use outhaul_core::store::{RunnerInfo, Selection, Store};

/// The same case over each store.
macro_rules! over_every_store {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $name() { super::$name(&mut super::memory()); })*
        }
        mod in_sqlite {
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&mut super::kit::sqlite(dir.path()));
            })*
        }
    };
}

over_every_store!(
    what_is_committed_is_there_afterwards,
    what_is_rolled_back_never_was,
    a_rollback_restores_what_was_changed_and_ended,
    a_rollback_without_a_transaction_is_harmless,
    nothing_works_without_a_transaction,
    a_task_can_begin_and_end_in_one_transaction,
    a_task_can_begin_and_end_over_several_transactions,
    an_open_transaction_sees_its_own_changes,
    a_row_that_is_gone_cannot_be_changed,
    a_key_is_given_once,
    the_newest_task_has_the_name,
    a_generated_id_leads_to_its_task,
    a_selection_means_live_tasks_in_order_of_key,
    every_live_row_comes_in_order_of_key,
    a_body_comes_back_byte_for_byte,
    a_body_is_there_in_the_transaction_that_brings_it,
    every_field_of_a_row_comes_back,
    the_last_key_counts_ended_tasks_too,
    an_epoch_is_never_given_twice,
);

fn what_is_committed_is_there_afterwards(store: &mut dyn Store) {
    txn(store, &[insert(live(7), named("a")), enqueued(7)]);
    store.begin().unwrap();
    assert_eq!(store.live(7).unwrap(), Some(live(7)));
    store.rollback();
}

fn what_is_rolled_back_never_was(store: &mut dyn Store) {
    store.begin().unwrap();
    store.apply(&[insert(live(7), named("a")), enqueued(7)]).unwrap();
    store.rollback();
    store.begin().unwrap();
    assert_eq!(store.live(7).unwrap(), None);
    assert_eq!(store.body(7).unwrap(), None);
    assert_eq!(store.newest("a").unwrap(), None);
    assert_eq!(store.last_key().unwrap(), 0);
    store.rollback();
}

fn a_rollback_restores_what_was_changed_and_ended(store: &mut dyn Store) {
    txn(store, &[insert(live(1), named("a")), insert(live(2), named("b"))]);
    let mut changed = live(1);
    changed.attempt = 9;
    store.begin().unwrap();
    store
        .apply(&[Effect::Update(changed), completed(2), completed(1), insert(live(3), named("a"))])
        .unwrap();
    assert_eq!(store.select(&Selection::All).unwrap(), [3]);
    store.rollback();
    store.begin().unwrap();
    assert_eq!(store.live(1).unwrap(), Some(live(1)));
    assert_eq!(store.live(2).unwrap(), Some(live(2)));
    assert_eq!(store.newest("a").unwrap(), Some(1));
    assert_eq!(store.select(&Selection::All).unwrap(), [1, 2]);
    store.rollback();
}

fn a_rollback_without_a_transaction_is_harmless(store: &mut dyn Store) {
    store.rollback();
    txn(store, &[insert(live(1), named("a"))]);
    store.rollback();
    store.begin().unwrap();
    assert_eq!(store.live(1).unwrap(), Some(live(1)));
    store.rollback();
}

fn nothing_works_without_a_transaction(store: &mut dyn Store) {
    assert!(store.commit().is_err());
    store.begin().unwrap();
    assert!(store.begin().is_err(), "a second transaction");
    store.rollback();
}

fn a_task_can_begin_and_end_in_one_transaction(store: &mut dyn Store) {
    let running = kit::running(live(1), 1, 1);
    let effects = [insert(live(1), named("a")), enqueued(1), Effect::Update(running), completed(1)];
    txn(store, &effects);
    store.begin().unwrap();
    assert_eq!(store.live(1).unwrap(), None);
    assert_eq!(store.select(&Selection::All).unwrap(), [0; 0]);
    assert_eq!(store.newest("a").unwrap(), Some(1));
    assert!(store.body(1).unwrap().is_some());
    store.rollback();
}

fn a_task_can_begin_and_end_over_several_transactions(store: &mut dyn Store) {
    txn(store, &[insert(live(1), named("a")), enqueued(1)]);
    txn(store, &[Effect::Update(kit::running(live(1), 1, 1))]);
    store.begin().unwrap();
    assert_eq!(store.live(1).unwrap().unwrap().status, TaskStatus::Running);
    store.rollback();
    txn(store, &[completed(1)]);
    store.begin().unwrap();
    assert_eq!(store.live(1).unwrap(), None);
    store.rollback();
}

fn an_open_transaction_sees_its_own_changes(store: &mut dyn Store) {
    txn(store, &[insert(live(1), tagged("t")), insert(live(2), tagged("t"))]);
    store.begin().unwrap();
    let mut changed = live(1);
    changed.run_at = 99;
    let new = insert(live(3), tagged("t"));
    store.apply(&[Effect::Update(changed.clone()), completed(2), new]).unwrap();
    assert_eq!(store.live(1).unwrap(), Some(changed.clone()));
    assert_eq!(store.live(2).unwrap(), None);
    assert_eq!(store.live(3).unwrap(), Some(live(3)));
    assert_eq!(store.select(&Selection::Tag("t".to_owned())).unwrap(), [1, 3]);
    // Reading must not have changed what a later change does.
    store.apply(&[completed(3), completed(1)]).unwrap();
    assert_eq!(store.select(&Selection::All).unwrap(), [0; 0]);
    store.commit().unwrap();
}

fn a_row_that_is_gone_cannot_be_changed(store: &mut dyn Store) {
    txn(store, &[insert(live(1), named("a")), completed(1)]);
    for late in [Effect::Update(live(1)), Effect::Update(live(2)), completed(1), completed(2)] {
        store.begin().unwrap();
        let stored = store.apply(&[late]).and_then(|()| store.commit());
        assert!(stored.is_err());
        store.rollback();
    }
}

fn a_key_is_given_once(store: &mut dyn Store) {
    txn(store, &[insert(live(1), named("a"))]);
    store.begin().unwrap();
    let again = store.apply(&[insert(live(1), named("b"))]);
    assert!(again.and_then(|()| store.commit()).is_err());
    store.rollback();
}

fn the_newest_task_has_the_name(store: &mut dyn Store) {
    txn(store, &[insert(live(5), named("a")), completed(5)]);
    txn(store, &[insert(live(6), named("a"))]);
    store.begin().unwrap();
    assert_eq!(store.newest("a").unwrap(), Some(6));
    assert_eq!(store.newest("A").unwrap(), None);
    store.rollback();
}

fn a_generated_id_leads_to_its_task(store: &mut dyn Store) {
    txn(store, &[insert(live(5), kit::new_task())]);
    store.begin().unwrap();
    assert_eq!(store.newest(&generated_id(5)).unwrap(), Some(5));
    assert_eq!(store.select(&Selection::TaskId(generated_id(5))).unwrap(), [5]);
    assert_eq!(store.select(&Selection::TaskId(generated_id(6))).unwrap(), [0; 0]);
    store.rollback();
}

fn a_selection_means_live_tasks_in_order_of_key(store: &mut dyn Store) {
    let tasks = [
        insert(live(30), tagged("x")),
        insert(live(10), tagged("x")),
        insert(live(20), tagged("y")),
        insert(live(40), named("old")),
        insert(live(15), tagged("x")),
        completed(15),
        completed(40),
    ];
    txn(store, &tasks);
    store.begin().unwrap();
    let mut select = |selection| store.select(&selection).unwrap();
    assert_eq!(select(Selection::All), [10, 20, 30]);
    assert_eq!(select(Selection::Tag("x".to_owned())), [10, 30]);
    assert_eq!(select(Selection::Tag("z".to_owned())), [0; 0]);
    assert_eq!(select(Selection::Key(20)), [20]);
    assert_eq!(select(Selection::Key(15)), [0; 0]);
    assert_eq!(select(Selection::TaskId("old".to_owned())), [0; 0]);
    store.rollback();
}

fn every_live_row_comes_in_order_of_key(store: &mut dyn Store) {
    txn(store, &[insert(live(3), named("c")), insert(live(1), named("a"))]);
    store.begin().unwrap();
    store.apply(&[insert(live(2), named("b"))]).unwrap();
    let mut keys = Vec::new();
    store.each_live(&mut |live| keys.push(live.key)).unwrap();
    assert_eq!(keys, [1, 2, 3]);
    store.rollback();
}

fn a_body_comes_back_byte_for_byte(store: &mut dyn Store) {
    let mut task = named("ünïcode/☃");
    task.tag = Some("a tag".into());
    task.spec = (0..=255).collect::<Vec<u8>>().into();
    task.admitted = Vec::new().into();
    txn(store, &[insert(live(1), task.clone())]);
    store.begin().unwrap();
    let body = store.body(1).unwrap().unwrap();
    assert_eq!((body.task_id, body.tag), (task.task_id, task.tag));
    assert_eq!((body.spec, body.admitted), (task.spec, task.admitted));
    assert_eq!(store.body(2).unwrap(), None);
    store.rollback();
}

fn a_body_is_there_in_the_transaction_that_brings_it(store: &mut dyn Store) {
    store.begin().unwrap();
    let spec = |key: u8| vec![key; 3];
    for key in [8, 3, 5] {
        let task = kit::NewTask { spec: spec(key).into(), ..kit::new_task() };
        store.apply(&[insert(live(key.into()), task)]).unwrap();
        assert_eq!(store.body(key.into()).unwrap().unwrap().spec, spec(key));
    }
    store.each_live(&mut |_| ()).unwrap();
    for key in [3, 5, 8] {
        assert_eq!(store.body(key.into()).unwrap().unwrap().spec, spec(key));
    }
    assert_eq!(store.body(4).unwrap(), None);
    store.rollback();
}

fn every_field_of_a_row_comes_back(store: &mut dyn Store) {
    let extreme = kit::extreme();
    txn(store, &[insert(extreme.clone(), named("a"))]);
    store.begin().unwrap();
    assert_eq!(store.live(extreme.key).unwrap(), Some(extreme));
    store.rollback();
}

fn the_last_key_counts_ended_tasks_too(store: &mut dyn Store) {
    txn(store, &[insert(live(8), named("a")), completed(8), insert(live(3), named("b"))]);
    store.begin().unwrap();
    assert_eq!(store.last_key().unwrap(), 8);
    store.rollback();
}

fn an_epoch_is_never_given_twice(store: &mut dyn Store) {
    let runner = RunnerInfo { host: "here".to_owned(), pid: 1, at: 0 };
    let mut given = Vec::new();
    store.begin().unwrap();
    assert_eq!(store.last_epoch().unwrap(), 0);
    store.rollback();
    for _ in 0..3 {
        store.begin().unwrap();
        let epoch = store.begin_epoch(&runner).unwrap();
        assert_eq!(store.last_epoch().unwrap(), epoch);
        store.end_epoch(epoch, 1).unwrap();
        store.commit().unwrap();
        given.push(epoch);
    }
    assert!(given.iter().all(|epoch| *epoch > 0));
    assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
}
