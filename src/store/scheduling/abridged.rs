//! Events with abridged descriptions.

use bson::doc;

use super::documents::EventDoc;
use crate::{
    domain::{EventId, scheduling::Event},
    error::Result,
    store::tenant::{Key, TenantReader},
};

impl TenantReader<'_> {
    /// The events among `ids` (at most a few thousand), including deleted ones, with the first
    /// `chars` characters of each description.
    pub async fn events_abridged(&mut self, ids: &[EventId], chars: usize) -> Result<Vec<Event>> {
        let store = self.store;
        let keys =
            ids.iter().flat_map(|id| [Key::event(store.org, *id), Key::past_event(store.org, *id)]);
        let chars = i64::try_from(chars).unwrap_or(i64::MAX);
        let description = doc! { "$cond": [
            { "$eq": [{ "$type": "$description" }, "string"] },
            { "$substrCP": ["$description", 0, chars] },
            "$description",
        ] };
        let mut pipeline = store.look_up(&keys.collect::<Vec<_>>());
        pipeline.push(doc! { "$set": { "description": description } });
        let found: Vec<EventDoc> = self.all_of(store.database.aggregate(pipeline)).await?;
        Ok(found.into_iter().map(Event::try_from).collect::<Result<_, _>>()?)
    }
}
