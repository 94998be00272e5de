//! Lists by pages: `limit` and `cursor`, and, where a source system had them, `page` and `per_page`.

use poem_openapi::{
    Object,
    types::{ParseFromJSON, ToJSON, Type},
};

use super::problem::Fault;

/// A page of a list
#[derive(Debug, Clone, PartialEq, Object)]
pub(super) struct Page<T: Type + ParseFromJSON + ToJSON> {
    pub(super) items: Vec<T>,
    /// To be given as `cursor` for the next page; missing on the last one
    #[oai(skip_serializing_if_is_none)]
    pub(super) next_cursor: Option<String>,
    /// Only where `page` was asked for
    #[oai(skip_serializing_if_is_none)]
    pub(super) page: Option<u32>,
    #[oai(skip_serializing_if_is_none)]
    pub(super) per_page: Option<u32>,
    /// How many there are in all; only where `page` was asked for
    #[oai(skip_serializing_if_is_none)]
    pub(super) total: Option<u64>,
}

impl<T: Type + ParseFromJSON + ToJSON> Page<T> {
    pub(super) fn new(items: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { items, next_cursor, page: None, per_page: None, total: None }
    }

    /// Of rows that were read with one more than the page takes.
    pub(super) fn of<R: Into<T>>(
        mut rows: Vec<R>,
        limit: usize,
        cursor: impl FnOnce(&R) -> String,
    ) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(cursor);
        Self::new(rows.into_iter().map(Into::into).collect(), next)
    }
}

/// `limit`, or the default; 422 outside its range.
pub(super) fn limit(given: Option<u32>, default: u32, max: u32) -> Result<usize, Fault> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit as usize),
        _ => Err(Fault::invalid("limit", format!("limit is 1 to {max}"))),
    }
}

/// A cursor that is the id of the last entry of the page before.
pub(super) fn number(cursor: Option<&str>) -> Result<Option<i64>, Fault> {
    let number = cursor.map(str::parse::<i64>).transpose();
    number.map_err(|_| Fault::invalid("cursor", "the cursor is not one of next_cursor"))
}

/// A page by number: its number, its size, and how many entries stand before it.
pub(super) struct Numbered {
    pub(super) page: u32,
    pub(super) per_page: u32,
    pub(super) offset: usize,
}

/// Entries that may stand before a page by number; further on, use a cursor.
const OFFSET_MAX: usize = 100_000;

/// `page` and `per_page` where either is given.
pub(super) fn numbered(
    page: Option<u32>,
    per_page: Option<u32>,
    per_page_max: u32,
) -> Result<Option<Numbered>, Fault> {
    if page.is_none() && per_page.is_none() {
        return Ok(None);
    }
    let (page, per_page) = (page.unwrap_or(1), per_page.unwrap_or(20));
    if page == 0 {
        return Err(Fault::invalid("page", "pages are counted from 1"));
    }
    if !(1..=per_page_max).contains(&per_page) {
        return Err(Fault::invalid("per_page", format!("per_page is 1 to {per_page_max}")));
    }
    let offset = (page as usize - 1) * per_page as usize;
    if offset > OFFSET_MAX {
        let detail = format!("{OFFSET_MAX} entries stand before it; use limit and cursor");
        return Err(Fault::invalid("page", detail));
    }
    Ok(Some(Numbered { page, per_page, offset }))
}
