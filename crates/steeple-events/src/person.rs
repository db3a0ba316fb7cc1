use serde::Serialize;
use serde_json::{Map, Value};
use steeple_core::User;

use crate::{
    Class, Events, Receipt,
    record::{Context, Kind, Names, Record},
};

/// A user, to set their profile: made by [`Events::person`].
///
/// Mixpanel has it as a profile, and notes when the user was last seen (`$last_seen`). The other systems have events alone.
#[derive(Clone, Debug)]
pub struct Person {
    pub(crate) events: Events,
    pub(crate) user: String,
}

impl Events {
    /// A user by the id that sinks see: what the privacy policy makes of the user's id.
    ///
    /// # Examples
    /// ```
    /// use steeple_events::Events;
    ///
    /// let events = Events::builder().build()?;
    /// events.person("u-42").set("plan", "pro");
    /// # Ok::<(), steeple_events::BuildError>(())
    /// ```
    pub fn person(&self, user: impl Into<String>) -> Person {
        Person { events: self.clone(), user: user.into() }
    }
}

impl Person {
    /// Sets a property of the user. A second value takes the place of the first.
    pub fn set(&self, name: &str, value: impl Serialize) -> Receipt {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.set_all(&Map::from_iter([(name.to_owned(), value)]))
    }

    /// Sets several properties of the user.
    pub fn set_all(&self, properties: &Map<String, Value>) -> Receipt {
        self.events.accept_person(&self.user, Kind::PersonSet, properties)
    }
}

impl Events {
    pub(crate) fn accept_person(&self, user: &str, kind: Kind, properties: &Map<String, Value>) -> Receipt {
        if !self.takes_person(kind) {
            return Receipt::new(None);
        }
        let context =
            Context { user: Some(User::new(user)), visitor: Context::current().visitor, ..Context::default() };
        match Record::begin(Names::Dynamic("person".into()), Class::Identity, properties, context) {
            Ok(mut record) => {
                record.kind = kind;
                self.hand_over(record)
            }
            Err(reason) => self.reject(reason),
        }
    }
}
