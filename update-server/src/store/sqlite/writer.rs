//! One thread writes. Transactions that wait together are committed together,
//! so that a sync is paid once for all of them.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::JobError;
use crate::store::StoreError;

/// Transactions that may wait before callers are held back.
const QUEUE_MAX: usize = 1024;
/// Transactions in one commit: bounds how long the first of them waits.
const GROUP_MAX: usize = 256;

/// Hands transactions to the writing thread, which ends when this is dropped.
pub struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

trait Job: Send {
    fn apply(&mut self, tx: &Connection) -> Applied;
    fn answer(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>);
}

enum Applied {
    Keep,
    Undo,
}

struct Transaction<T, F> {
    doing: &'static str,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Transaction<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, JobError> + Send,
{
    fn apply(&mut self, tx: &Connection) -> Applied {
        let Some(work) = self.work.take() else { return Applied::Undo };
        let outcome = work(tx).map_err(|error| error.while_doing(self.doing));
        let applied = if outcome.is_ok() { Applied::Keep } else { Applied::Undo };
        self.outcome = Some(outcome);
        applied
    }

    fn answer(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(shared)) => Err(StoreError::Commit(shared)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // A caller that went away no longer wants to know.
        let _ = self.reply.send(outcome);
    }
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::spawn(move || serve(&connection, queue));
        Self { jobs }
    }

    /// Runs `work` as one transaction; returns once it is durable.
    pub async fn run<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Transaction { doing, work: Some(work), outcome: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn serve(connection: &Connection, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        let committed = commit(connection, &mut group).map_err(Arc::new);
        if let Err(error) = &committed {
            tracing::error!(%error, transactions = group.len(), "commit failed");
        }
        for job in group {
            job.answer(committed.clone());
        }
    }
}

fn commit(connection: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let committed = apply(connection, group).and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    committed
}

/// Each job in a savepoint: one that fails takes nothing else with it.
fn apply(connection: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    for job in group {
        connection.execute_batch("SAVEPOINT job")?;
        if let Applied::Undo = job.apply(connection) {
            connection.execute_batch("ROLLBACK TO job")?;
        }
        connection.execute_batch("RELEASE job")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(sql: &'static str) -> (Box<dyn Job>, oneshot::Receiver<Result<usize, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let work = move |tx: &Connection| {
            tx.execute("INSERT INTO t VALUES (0)", [])?;
            Ok(tx.execute(sql, [])?)
        };
        (Box::new(Transaction { doing: "test", work: Some(work), outcome: None, reply }), answer)
    }

    #[test]
    fn a_transaction_that_fails_takes_no_other_of_its_group_with_it() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (n INTEGER CHECK (n < 9))").unwrap();
        let (good, good_answer) = job("INSERT INTO t VALUES (1)");
        let (bad, bad_answer) = job("INSERT INTO t VALUES (9)");
        let (other, other_answer) = job("INSERT INTO t VALUES (2)");
        let mut group = vec![good, bad, other];
        commit(&db, &mut group).unwrap();
        group.into_iter().for_each(|job| job.answer(Ok(())));
        let answered = [good_answer, bad_answer, other_answer]
            .map(|answer| answer.blocking_recv().unwrap().is_ok());
        assert_eq!(answered, [true, false, true]);
        let sum = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((sum("SELECT sum(n) FROM t"), sum("SELECT count(*) FROM t")), (3, 4));
    }

    #[test]
    fn nobody_is_told_yes_when_the_commit_fails() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (n INTEGER); BEGIN").unwrap();
        let (job, answer) = job("INSERT INTO t VALUES (1)");
        let mut group = vec![job];
        let committed = commit(&db, &mut group).map_err(Arc::new);
        assert!(committed.is_err());
        group.into_iter().for_each(|job| job.answer(committed.clone()));
        assert!(matches!(answer.blocking_recv().unwrap(), Err(StoreError::Commit(_))));
    }
}
