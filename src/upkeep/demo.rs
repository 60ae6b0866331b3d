//! `tenantry seed demo`: a few sample organizations, created through the same rules as any other.

use std::sync::Arc;

use chrono::{DateTime, Duration, NaiveDateTime, Utc};

use super::{
    no_hurry,
    seed::{found_once, invalid, seed_chart},
};
use crate::{
    domain::{
        AccountId, EventId, Label,
        identity::{Account, Actor, Email, Password, PasswordDigest, Role},
        scheduling::{OccurrenceId, TimeZone},
        tenancy::OrgName,
    },
    error::{Error, Result},
    manager::{
        AdminContext, OrgContext, TenantManager,
        scheduling::{EventInput, RecurrenceInput, ScheduleInput},
    },
};

/// A sample organization.
#[derive(Clone, Debug)]
pub struct DemoOrg {
    /// Its name.
    pub name: &'static str,
    /// The e-mail address of its admin.
    pub admin: String,
    /// The e-mail addresses of its members.
    pub members: Vec<String>,
    /// Whether this run created it.
    pub new: bool,
}

struct Template {
    name: &'static str,
    zone: &'static str,
    people: [&'static str; 5],
    events: [DemoEvent; 4],
}

/// Title, hour of the day, minutes, seats, and the recurrence rule.
type DemoEvent = (&'static str, i64, u32, i64, Option<&'static str>);

const ORGANIZATIONS: [Template; 3] = [
    Template {
        name: "Harbour Yoga",
        zone: "Europe/Berlin",
        people: ["Anna Vogel", "Jonas Weber", "Mira Aydin", "Paul Krause", "Sofia Lang"],
        events: [
            ("Morning flow", 7, 60, 3, Some("FREQ=WEEKLY;BYDAY=MO,WE,FR")),
            ("Breath and balance", 18, 75, 12, Some("FREQ=WEEKLY")),
            ("Teachers' meeting", 12, 45, 6, Some("FREQ=MONTHLY;BYDAY=-1FR")),
            ("Summer retreat", 9, 600, 4, None),
        ],
    },
    Template {
        name: "Kauri Robotics",
        zone: "Pacific/Auckland",
        people: ["Aroha Ngata", "Liam Chen", "Grace Tui", "Noah Patel", "Ella Brown"],
        events: [
            ("Stand-up", 9, 15, 20, Some("FREQ=DAILY")),
            ("Soldering workshop", 14, 120, 2, Some("FREQ=WEEKLY;INTERVAL=2")),
            ("Board meeting", 10, 90, 5, Some("FREQ=MONTHLY;BYMONTHDAY=1")),
            ("Open day", 11, 300, 100, None),
        ],
    },
    Template {
        name: "Maple Library",
        zone: "America/Toronto",
        people: ["Emma Roy", "Lucas Tremblay", "Zoe Martin", "Omar Haddad", "Nina Kowalski"],
        events: [
            ("Story hour", 16, 60, 3, Some("FREQ=WEEKLY;BYDAY=TU,TH;COUNT=40")),
            ("Book club", 19, 90, 8, Some("FREQ=MONTHLY;BYDAY=1WE")),
            ("Inventory", 8, 480, 5, Some("FREQ=YEARLY")),
            ("Author's evening", 20, 120, 3, None),
        ],
    },
];

/// Creates the sample organizations, whose accounts all have `password`. One that exists is left
/// unchanged.
pub async fn seed_demo(manager: &Arc<TenantManager>, password: Password) -> Result<Vec<DemoOrg>> {
    let digest = manager.hash_for_operator(password).await?;
    let mut organizations = Vec::new();
    for template in &ORGANIZATIONS {
        let name = OrgName::parse(template.name).map_err(invalid)?;
        let domain = name.slug().as_str().replace('_', "-");
        let address = |person: &str| {
            let first = person.split(' ').next().unwrap_or_default().to_lowercase();
            format!("{first}@{domain}.example")
        };
        let mut org = DemoOrg {
            name: template.name,
            admin: format!("admin@{domain}.example"),
            members: template.people.iter().map(|person| address(person)).collect(),
            new: true,
        };
        let email = Email::parse(&org.admin).map_err(invalid)?;
        org.new = found_once(manager, name, &email, &digest).await?;
        if org.new {
            fill(manager, template, &org, &email, &digest).await?;
        }
        organizations.push(org);
    }
    Ok(organizations)
}

async fn fill(
    manager: &Arc<TenantManager>,
    template: &Template,
    org: &DemoOrg,
    email: &Email,
    digest: &PasswordDigest,
) -> Result<()> {
    let admin = manager.store().account_by_email(email).await?;
    let admin = admin.ok_or_else(|| Error::Internal("the admin was removed".into()))?;
    let ctx = OrgContext::of(Actor::from(&admin), no_hurry()).admin()?;
    let mut members = Vec::new();
    for (person, address) in template.people.iter().zip(&org.members) {
        members.push(demo_member(manager, &ctx, person, address, digest).await?);
    }
    seed_chart(manager, &ctx, Some(14), &mut rand::SeedableRng::seed_from_u64(1)).await?;
    for (number, event) in template.events.iter().enumerate() {
        let start = next_start(manager, template.zone, *event)?;
        let event = demo_event(manager, &ctx, template.zone, *event, start).await?;
        demo_seats(manager, &ctx, event, &members, number).await?;
    }
    Ok(())
}

async fn demo_member(
    manager: &TenantManager,
    ctx: &AdminContext,
    person: &str,
    address: &str,
    digest: &PasswordDigest,
) -> Result<AccountId> {
    let now = manager.clock().now();
    let account = Account {
        id: AccountId::generate(),
        org_id: ctx.org_id(),
        email: Email::parse(address).map_err(invalid)?,
        name: Some(Label::parse(person).map_err(invalid)?),
        role: Role::Member,
        password: digest.clone(),
        token_version: 1,
        created_at: now,
        updated_at: now,
    };
    manager.account_add(ctx, &account).await?;
    Ok(account.id)
}

/// The event's hour on tomorrow's date in its time zone.
fn next_start(manager: &TenantManager, zone: &str, event: DemoEvent) -> Result<NaiveDateTime> {
    let zone = TimeZone::parse(zone).map_err(invalid)?;
    let midnight = zone.local(manager.clock().now()).date().and_hms_opt(0, 0, 0);
    let midnight = midnight.ok_or_else(|| Error::Internal("a day has no midnight".into()))?;
    Ok(midnight + Duration::days(1) + Duration::hours(event.1))
}

async fn demo_event(
    manager: &TenantManager,
    ctx: &AdminContext,
    zone: &str,
    (title, _, minutes, capacity, rule): DemoEvent,
    start: NaiveDateTime,
) -> Result<EventId> {
    let recurrence = rule
        .map(|rule| RecurrenceInput { rule: Some(rule.to_owned()), ..RecurrenceInput::default() });
    let input = EventInput {
        title: Label::parse(title).map_err(invalid)?,
        description: None,
        capacity,
        schedule: ScheduleInput {
            start: Some(start),
            zone: Some(TimeZone::parse(zone).map_err(invalid)?),
            minutes: Some(minutes),
            recurrence: Some(recurrence),
        },
    };
    Ok(manager.event_create(ctx, input).await?.id)
}

/// Registers members for the next two occurrences: all of them for the first, so that a small one
/// is full and has a waiting list, and some for the second.
async fn demo_seats(
    manager: &Arc<TenantManager>,
    ctx: &AdminContext,
    event: EventId,
    members: &[AccountId],
    number: usize,
) -> Result<()> {
    let event = manager.event_get(ctx, event).await?;
    let event = event.ok_or_else(|| Error::Internal("the event was deleted".into()))?;
    let now: DateTime<Utc> = manager.clock().now();
    let starts = event.schedule.starts_between(now, now + Duration::days(366));
    for (round, start) in starts.into_iter().take(2).enumerate() {
        let occurrence = OccurrenceId { start, event: event.id };
        for member in members.iter().skip(round * (number + 1)) {
            let seat = manager.register(ctx, occurrence, Some(*member)).await?;
            if seat.is_err() {
                // It is full, or the member is busy at that time. The waiting list may refuse, too.
                let _ = manager.waiting_join(ctx, occurrence, Some(*member)).await?;
            }
        }
    }
    Ok(())
}
