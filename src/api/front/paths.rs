//! Paths of the OpenAPI document, found as the router finds them: words before parameters.

/// What is said of each path.
pub(super) struct Paths<T>(Vec<(Vec<String>, T)>);

impl<T> FromIterator<(Vec<String>, T)> for Paths<T> {
    fn from_iter<I: IntoIterator<Item = (Vec<String>, T)>>(paths: I) -> Self {
        let mut known: Vec<_> = paths.into_iter().collect();
        known.sort_by_cached_key(|(segments, _)| {
            segments.iter().map(|segment| is_parameter(segment)).collect::<Vec<_>>()
        });
        Self(known)
    }
}

impl<T> Paths<T> {
    /// `None`: there is no such path.
    pub(super) fn of(&self, path: &str) -> Option<&T> {
        let asked = segments(path);
        let matches = |known: &[String]| {
            known.len() == asked.len()
                && known.iter().zip(&asked).all(|(known, asked)| {
                    known == asked || (is_parameter(known) && !asked.is_empty())
                })
        };
        self.0.iter().find(|(known, _)| matches(known)).map(|(_, said)| said)
    }
}

pub(super) fn segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(str::to_owned).collect()
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}
