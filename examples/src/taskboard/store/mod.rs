//! The database: in memory, or in a file of `SQLite` with the feature `full`, since `SQLite` takes long to compile. Both have the
//! same functions, one for each statement of the service.

mod error;
#[cfg(any(not(feature = "full"), test))]
mod memory;
mod model;
#[cfg(feature = "full")]
mod pool;
#[cfg(feature = "full")]
mod sqlite;

pub use self::error::StoreError;
#[cfg(not(feature = "full"))]
pub(super) use self::memory::Store;
pub(super) use self::model::{NewUser, Payment, Project, Task, User, UserSummary};
#[cfg(feature = "full")]
pub(super) use self::sqlite::Store;

/// What a statement does, as query metrics name it.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Select,
    Insert,
    Update,
    Delete,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::{super::measured::Measured, *};

    /// The same statements get the same answers from both databases.
    macro_rules! answers {
        ($name:ident, $store:path) => {
            #[tokio::test]
            async fn $name() {
                let store = <$store>::open(None, Measured::default()).unwrap();
                store.ping().await.unwrap();
                let ann = || NewUser { email: "Ann@example.com".into(), name: "Ann".into(), source: "web" };
                let user = store.insert_user(ann()).await.unwrap();
                assert_eq!((user.id, &*user.source), (1, "web"));
                assert!(store.insert_user(ann()).await.unwrap_err().is_taken());
                assert_eq!(store.user_by_email("ann@EXAMPLE.com".into()).await.unwrap(), Some(1));
                assert_eq!(store.user_by_email("ben@example.com".into()).await.unwrap(), None);

                let ends = store.insert_session([7; 32], 1, "password").await.unwrap();
                assert!(ends > user.created_at && ends.len() == user.created_at.len(), "{ends}");
                assert_eq!(store.session_user([7; 32]).await.unwrap(), Some(1));
                assert_eq!(store.session_user([8; 32]).await.unwrap(), None);
                assert_eq!(store.delete_ended_sessions().await.unwrap(), 0);

                let project = store.insert_project(1, "Steeple".into(), "team").await.unwrap();
                assert_eq!((project.id, project.open_tasks, project.completed_tasks), (1, 0, 0));
                assert!(store.project(2).await.unwrap().is_none() && store.project(-1).await.unwrap().is_none());
                let heard = Arc::new(AtomicUsize::new(0));
                let hear = || {
                    let heard = Arc::clone(&heard);
                    move |_: &Task| {
                        heard.fetch_add(1, Relaxed);
                    }
                };
                for number in 1..=3 {
                    let task = store.insert_task(1, 1, format!("Task {number}"), hear()).await.unwrap();
                    assert_eq!((task.id, task.project_id), (number, 1));
                }
                let done = store.complete_task(2, hear()).await.unwrap().unwrap();
                assert!(done.completed_at >= Some(done.created_at) && done.open_seconds >= Some(0.0));
                assert!(store.complete_task(2, hear()).await.unwrap().is_none(), "once");
                assert!(store.complete_task(9, hear()).await.unwrap().is_none());
                assert_eq!(heard.load(Relaxed), 4);
                let ids = |tasks: Vec<Task>| tasks.iter().map(|task| task.id).collect::<Vec<_>>();
                assert_eq!(ids(store.tasks_after(1, 1, 10).await.unwrap()), [2, 3]);
                assert_eq!(ids(store.tasks_after(1, 0, 1).await.unwrap()), [1]);
                assert!(store.tasks_after(2, 0, 10).await.unwrap().is_empty());
                assert_eq!(store.task(2).await.unwrap().unwrap().completed_at, done.completed_at);
                assert!(store.task(0).await.unwrap().is_none());

                let project = store.project(1).await.unwrap().unwrap();
                assert_eq!((project.open_tasks, project.completed_tasks), (2, 1));
                let summary = store.user_summary(1).await.unwrap().unwrap();
                assert_eq!((summary.projects, summary.open_tasks), (1, 2));
                assert!(store.user_summary(2).await.unwrap().is_none());
                for number in 1..=2 {
                    let payment = store.insert_payment(1, "pro", 1900, "EUR").await.unwrap();
                    assert_eq!((payment.id, payment.minor_units), (number, 1900));
                }
            }
        };
    }

    answers!(tables_in_memory_answer_as_a_database, memory::Store);
    #[cfg(feature = "full")]
    answers!(sqlite_answers, sqlite::Store);

    #[test]
    fn a_file_needs_the_full_build() {
        let error = memory::Store::open(Some("board.db".as_ref()), Measured::default()).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(error.is_open() && error.to_string().contains("board.db"));
        assert!(source.is_some_and(|source| source.contains("--features full")));
    }
}
