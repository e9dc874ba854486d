//! A store in memory: what the simulation and the conformance suite drive. Loses all at the end.

use std::collections::BTreeMap;

use super::{Body, RunnerInfo, Selection, Store, StoreError, key_of_generated_id};
use crate::engine::{Effect, End, Live};
use crate::model::{Epoch, EventKind, TaskKey, TaskStatus, UnixMillis};

/// What is on the imaginary disk.
#[derive(Clone, Debug, Default)]
struct Tables {
    bodies: BTreeMap<TaskKey, Body>,
    live: BTreeMap<TaskKey, Live>,
    done: BTreeMap<TaskKey, (TaskStatus, u32, End)>,
    names: BTreeMap<String, TaskKey>,
    events: Vec<(EventKind, TaskKey)>,
    epochs: Epoch,
}

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    disk: Tables,
    open: Option<Tables>,
}

impl MemoryStore {
    fn tables(&mut self) -> Result<&mut Tables, StoreError> {
        self.open.as_mut().ok_or_else(|| StoreError::Internal("no transaction is open".to_owned()))
    }

    /// How a task ended, as committed.
    pub fn ended(&self, key: TaskKey) -> Option<TaskStatus> {
        self.disk.done.get(&key).map(|(status, _, _)| *status)
    }

    /// Every narrow row, as committed.
    pub fn committed_live(&self) -> impl Iterator<Item = &Live> {
        self.disk.live.values()
    }

    /// Every event, as committed, in order.
    pub fn committed_events(&self) -> &[(EventKind, TaskKey)] {
        &self.disk.events
    }
}

impl Store for MemoryStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.open = Some(self.disk.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.disk = std::mem::take(self.tables()?);
        self.open = None;
        Ok(())
    }

    fn rollback(&mut self) {
        self.open = None;
    }

    fn apply(&mut self, effects: &[Effect]) -> Result<(), StoreError> {
        let tables = self.tables()?;
        for effect in effects {
            match effect {
                Effect::Insert { live, task, .. } => {
                    let body = Body {
                        task_id: task.task_id.clone(),
                        tag: task.tag.clone(),
                        spec: task.spec.clone(),
                        admitted: task.admitted.clone(),
                    };
                    if let Some(task_id) = &task.task_id {
                        tables.names.insert(task_id.to_string(), live.key);
                    }
                    tables.bodies.insert(live.key, body);
                    tables.live.insert(live.key, live.clone());
                }
                Effect::Update(live) => {
                    tables.live.insert(live.key, live.clone());
                }
                Effect::Finish { key, status, attempt, end, .. } => {
                    tables.live.remove(key);
                    tables.done.insert(*key, (*status, *attempt, end.clone()));
                }
                Effect::Record { kind, key, .. } => tables.events.push((*kind, *key)),
                Effect::Start { .. } | Effect::Stop { .. } => {}
            }
        }
        Ok(())
    }

    fn foreign_changes(&mut self) -> Result<Vec<TaskKey>, StoreError> {
        Ok(Vec::new())
    }

    fn begin_epoch(&mut self, _: &RunnerInfo) -> Result<Epoch, StoreError> {
        let tables = self.tables()?;
        tables.epochs += 1;
        Ok(tables.epochs)
    }

    fn end_epoch(&mut self, _: Epoch, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    fn last_key(&mut self) -> Result<TaskKey, StoreError> {
        Ok(self.tables()?.bodies.keys().next_back().copied().unwrap_or_default())
    }

    fn newest(&mut self, task_id: &str) -> Result<Option<TaskKey>, StoreError> {
        let named = self.tables()?.names.get(task_id).copied();
        Ok(named.or_else(|| key_of_generated_id(task_id)))
    }

    fn live(&mut self, key: TaskKey) -> Result<Option<Live>, StoreError> {
        Ok(self.tables()?.live.get(&key).cloned())
    }

    fn each_live(&mut self, take: &mut dyn FnMut(Live)) -> Result<(), StoreError> {
        self.tables()?.live.values().cloned().for_each(take);
        Ok(())
    }

    fn select(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError> {
        if let Selection::TaskId(task_id) = selection {
            return Ok(self.newest(task_id)?.into_iter().collect());
        }
        let tables = self.tables()?;
        let meant = |key: &TaskKey| match selection {
            Selection::Key(wanted) => key == wanted,
            Selection::Tag(tag) => {
                tables.bodies.get(key).and_then(|body| body.tag.as_deref()) == Some(tag)
            }
            Selection::TaskId(_) | Selection::All => true,
        };
        Ok(tables.live.keys().copied().filter(meant).collect())
    }

    fn body(&mut self, key: TaskKey) -> Result<Option<Body>, StoreError> {
        Ok(self.tables()?.bodies.get(&key).cloned())
    }
}
