//! Which topics are ingest topics, and what their levels mean.
//!
//! A template such as `sensors/{device}/{sensor}/data` has literal levels and captures of one whole
//! level. Looked up for every PUBLISH, so without allocation. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// What the messages of a route are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Readings.
    Data,
    /// What the device says of itself.
    Status,
    /// That it is alive.
    Heartbeat,
}

/// How a data message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadForm {
    /// Recognised by its shape.
    Auto,
    Rich,
    Flat,
    Batch,
    Single,
    Esp32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTemplate {
    text: String,
    levels: Vec<Level>,
    pub kind: MessageKind,
    pub form: PayloadForm,
    /// A device first seen here is registered as a gateway.
    pub teaches_gateway: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    Device,
    Sensor,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    #[error("the route {0:?} needs one {{device}} level, and at most one {{sensor}} level")]
    Captures(String),
    #[error(
        "the level {level:?} of the route {route:?} is neither a name nor {{device}} nor {{sensor}}"
    )]
    Level { route: String, level: String },
    #[error("the first level of the route {0:?} must be a name")]
    First(String),
    #[error("the routes {0:?} and {1:?} can match the same topic")]
    Ambiguous(String, String),
    #[error("only a data route can have a {{sensor}} level, unlike {0:?}")]
    SensorOfOther(String),
}

impl RouteTemplate {
    /// # Errors
    /// Says what of the template is wrong.
    pub fn new(
        text: &str,
        kind: MessageKind,
        form: PayloadForm,
        teaches_gateway: bool,
    ) -> Result<Self, InvalidRoute> {
        let levels = text.split('/').map(|level| read_level(text, level));
        let levels: Vec<Level> = levels.collect::<Result<_, _>>()?;
        let count = |wanted: &Level| levels.iter().filter(|level| *level == wanted).count();
        if count(&Level::Device) != 1 || count(&Level::Sensor) > 1 {
            return Err(InvalidRoute::Captures(text.to_owned()));
        }
        if !matches!(levels.first(), Some(Level::Literal(_))) {
            return Err(InvalidRoute::First(text.to_owned()));
        }
        if kind != MessageKind::Data && count(&Level::Sensor) > 0 {
            return Err(InvalidRoute::SensorOfOther(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), levels, kind, form, teaches_gateway })
    }

    /// The template as it is written: a metric label.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.levels.len() == other.levels.len()
            && self.levels.iter().zip(&other.levels).all(|pair| match pair {
                (Level::Literal(a), Level::Literal(b)) => a == b,
                _ => true,
            })
    }

    fn captures<'t>(&self, topic: &'t str) -> Option<(&'t str, Option<&'t str>)> {
        let (mut device, mut sensor) = (None, None);
        let mut found = topic.split('/');
        for level in &self.levels {
            let text = found.next()?;
            match level {
                Level::Literal(name) if name == text => {}
                Level::Device if !text.is_empty() => device = Some(text),
                Level::Sensor if !text.is_empty() => sensor = Some(text),
                _ => return None,
            }
        }
        if found.next().is_some() {
            return None;
        }
        Some((device?, sensor))
    }
}

fn read_level(route: &str, level: &str) -> Result<Level, InvalidRoute> {
    match level {
        "{device}" => Ok(Level::Device),
        "{sensor}" => Ok(Level::Sensor),
        name if !name.is_empty() && !name.contains(['{', '}', '+', '#', '$', '\0']) => {
            Ok(Level::Literal(name.to_owned()))
        }
        other => Err(InvalidRoute::Level { route: route.to_owned(), level: other.to_owned() }),
    }
}

/// A topic that is an ingest topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteMatch<'t> {
    /// The route's number in its table.
    pub route: usize,
    pub kind: MessageKind,
    pub form: PayloadForm,
    pub teaches_gateway: bool,
    pub device: &'t str,
    pub sensor: Option<&'t str>,
}

#[derive(Debug, Clone)]
pub struct RouteTable {
    routes: Vec<RouteTemplate>,
    /// Routes by their first level, which is a name.
    by_first: HashMap<String, Vec<usize>, RandomState>,
}

impl RouteTable {
    /// # Errors
    /// When two templates can match the same topic.
    pub fn new(routes: Vec<RouteTemplate>) -> Result<Self, InvalidRoute> {
        let mut by_first: HashMap<String, Vec<usize>, RandomState> = HashMap::default();
        for (at, route) in routes.iter().enumerate() {
            let earlier = routes.iter().take(at).find(|earlier| earlier.overlaps(route));
            if let Some(earlier) = earlier {
                return Err(InvalidRoute::Ambiguous(earlier.text.clone(), route.text.clone()));
            }
            if let Some(Level::Literal(first)) = route.levels.first() {
                by_first.entry(first.clone()).or_default().push(at);
            }
        }
        Ok(Self { routes, by_first })
    }

    pub fn find<'t>(&self, topic: &'t str) -> Option<RouteMatch<'t>> {
        let first = topic.split('/').next()?;
        self.by_first.get(first)?.iter().find_map(|at| {
            let route = self.routes.get(*at)?;
            let (device, sensor) = route.captures(topic)?;
            Some(RouteMatch {
                route: *at,
                kind: route.kind,
                form: route.form,
                teaches_gateway: route.teaches_gateway,
                device,
                sensor,
            })
        })
    }

    pub fn templates(&self) -> &[RouteTemplate] {
        &self.routes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> RouteTemplate {
        RouteTemplate::new(text, MessageKind::Data, PayloadForm::Auto, false).unwrap()
    }

    #[test]
    fn captures_whole_levels() {
        let table = RouteTable::new(vec![
            template("devices/{device}/data"),
            template("sensors/{device}/{sensor}/data"),
        ])
        .unwrap();
        let found = table.find("sensors/gw-1/7/data").unwrap();
        assert_eq!((found.route, found.device, found.sensor), (1, "gw-1", Some("7")));
        for other in ["devices/a/data/x", "devices//data", "devices/a", "$SYS/a/data", "", "/"] {
            assert_eq!(table.find(other), None, "{other}");
        }
    }

    #[test]
    fn refuses_what_can_not_be_told_apart_or_is_no_template() {
        let both = vec![template("a/{device}/x"), template("a/{device}/{sensor}")];
        assert!(matches!(RouteTable::new(both), Err(InvalidRoute::Ambiguous(..))));
        for wrong in
            ["a/b", "{device}/a", "a/{device}/{device}", "a/{device}/+", "a/{device}/{x}", ""]
        {
            let read = RouteTemplate::new(wrong, MessageKind::Data, PayloadForm::Auto, false);
            assert!(read.is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn finds_what_level_by_level_comparison_finds(
            texts in prop::collection::vec("[ab](/(\\{device\\}|\\{sensor\\}|[abé])){1,3}", 1..6),
            topics in prop::collection::vec("[ab$]?(/[abé]?){0,4}", 1..20),
        ) {
            let mut routes: Vec<RouteTemplate> = Vec::new();
            for text in texts {
                let route = RouteTemplate::new(&text, MessageKind::Data, PayloadForm::Auto, false);
                routes.extend(route.ok().filter(|new| !routes.iter().any(|old| old.overlaps(new))));
            }
            let table = RouteTable::new(routes.clone()).unwrap();
            for topic in topics {
                let found = table.find(&topic).map(|found| (found.route, found.device, found.sensor));
                prop_assert_eq!(found, naively(&routes, &topic), "{}", topic);
            }
        }

        #[test]
        fn any_topic_is_looked_up(topic in ".*") {
            let table = RouteTable::new(vec![template("a/{device}/{sensor}")]).unwrap();
            let _ = table.find(&topic);
        }
    }

    fn naively<'t>(
        routes: &[RouteTemplate],
        topic: &'t str,
    ) -> Option<(usize, &'t str, Option<&'t str>)> {
        let given: Vec<&str> = topic.split('/').collect();
        let matches = routes.iter().enumerate().filter_map(|(at, route)| {
            let wanted: Vec<&str> = route.text().split('/').collect();
            let fits = wanted.len() == given.len()
                && wanted.iter().zip(&given).all(|(wanted, given)| match wanted.starts_with('{') {
                    true => !given.is_empty(),
                    false => wanted == given,
                });
            let captured =
                |name| wanted.iter().position(|level| *level == name).map(|at| given[at]);
            fits.then(|| Some((at, captured("{device}")?, captured("{sensor}"))))?
        });
        let matches: Vec<_> = matches.collect();
        assert!(matches.len() < 2, "{topic} {matches:?}");
        matches.into_iter().next()
    }
}
