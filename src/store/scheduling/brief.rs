//! Events without the most of their descriptions.

use bson::doc;

use super::documents::EventDoc;
use crate::{
    domain::{EventId, scheduling::Event},
    error::Result,
    store::tenant::{Key, TenantReader},
};

impl TenantReader<'_> {
    /// The events, deleted or not, among `ids`, which are at most a few thousand. Of each
    /// description the first `chars` characters are read.
    ///
    /// # Errors
    /// The driver's.
    pub async fn events_in_brief(&mut self, ids: &[EventId], chars: usize) -> Result<Vec<Event>> {
        let store = self.store;
        let keys =
            ids.iter().flat_map(|id| [Key::event(store.org, *id), Key::past_event(store.org, *id)]);
        let chars = i64::try_from(chars).unwrap_or(i64::MAX);
        let brief = doc! { "$cond": [
            { "$eq": [{ "$type": "$description" }, "string"] },
            { "$substrCP": ["$description", 0, chars] },
            "$description",
        ] };
        let mut pipeline = store.look_up(&keys.collect::<Vec<_>>());
        pipeline.push(doc! { "$set": { "description": brief } });
        let found: Vec<EventDoc> = self.all_of(store.database.aggregate(pipeline)).await?;
        Ok(found.into_iter().map(Event::try_from).collect::<Result<_, _>>()?)
    }
}
