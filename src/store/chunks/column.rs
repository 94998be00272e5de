//! Columns of a block: whole numbers by their distance from a centre, as they are or as differences,
//! packed by as many bits as most need; the few that need more follow by themselves. Values are whole
//! numbers too where a power of ten makes them so without loss. Pure.

use super::{
    Damage,
    bits::{
        Input, bit_length, from_zigzag, pack, packed_length, put_signed, put_unsigned, to_zigzag,
        unpack,
    },
};

const PLAIN: u8 = 0;
const DIFFERENCES: u8 = 1;

/// Values as they are: the bits of a 32 or a 64 bit number, put in order.
const SINGLE: u8 = 0xf0;
const DOUBLE: u8 = 0xf1;

/// What is tried: values with so many decimal places. Division by these is exact to the last bit.
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Whole numbers that a value stands for without loss.
const WHOLE_MAX: f64 = 9e15;

/// One way of writing a column.
struct Plan {
    mode: u8,
    first: i64,
    centre: i64,
    scale: u64,
    /// Distances from the centre, by scale.
    distances: Vec<u64>,
    width: usize,
    cost: usize,
}

/// Appends numbers; [`whole_numbers`] wants to be told how many.
pub(super) fn put_whole_numbers(out: &mut Vec<u8>, numbers: &[i64]) {
    let Some(first) = numbers.first().copied() else { return };
    let plain = Plan::new(PLAIN, 0, numbers.to_vec());
    let plan = if plain.width == 0 {
        plain
    } else {
        let before = std::iter::once(first).chain(numbers.iter().copied());
        let steps = numbers.iter().zip(before).map(|(number, before)| number.wrapping_sub(before));
        let differences = Plan::new(DIFFERENCES, first, steps.skip(1).collect());
        if differences.cost < plain.cost { differences } else { plain }
    };
    plan.put(out);
}

impl Plan {
    fn new(mode: u8, first: i64, numbers: Vec<i64>) -> Self {
        let centre = median(&numbers);
        let mut scale = 0;
        for number in &numbers {
            if scale == 1 {
                break;
            }
            scale = common_divisor(scale, number.wrapping_sub(centre).unsigned_abs());
        }
        let scale = scale.max(1);
        let by_scale = |distance: i64| match i64::try_from(scale) {
            Ok(1) | Err(_) => distance,
            Ok(scale) => distance / scale,
        };
        // A scale beyond i64 is that of the one distance i64::MIN: it is left as it is.
        let scale = if i64::try_from(scale).is_ok() { scale } else { 1 };
        let distances: Vec<u64> =
            numbers.iter().map(|number| to_zigzag(by_scale(number.wrapping_sub(centre)))).collect();
        let (width, cost) = best_width(&distances);
        Self { mode, first, centre, scale, distances, width, cost }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.mode);
        out.push(self.width as u8);
        if self.mode == DIFFERENCES {
            put_signed(out, self.first);
        }
        put_signed(out, self.centre);
        put_unsigned(out, self.scale);
        let is_wide = |distance: u64| bit_length(distance) > self.width;
        let wide = || self.distances.iter().enumerate().filter(|(_, d)| is_wide(**d));
        put_unsigned(out, wide().count() as u64);
        let narrow = self.distances.iter().map(|d| if is_wide(*d) { 0 } else { *d });
        pack(out, narrow, self.width);
        let mut next = 0;
        for (at, distance) in wide() {
            put_unsigned(out, (at - next) as u64);
            put_unsigned(out, *distance);
            next = at + 1;
        }
    }
}

fn median(numbers: &[i64]) -> i64 {
    let mut sorted = numbers.to_vec();
    let middle = sorted.len() / 2;
    if sorted.is_empty() { 0 } else { *sorted.select_nth_unstable(middle).1 }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The number of bits that makes the column shortest, and how long it is then.
fn best_width(distances: &[u64]) -> (usize, usize) {
    let mut by_length = [0_usize; 65];
    for distance in distances {
        if let Some(count) = by_length.get_mut(bit_length(*distance)) {
            *count += 1;
        }
    }
    let mut best = (64, usize::MAX);
    let (mut wide, mut wide_bytes) = (0, 0);
    // From the widest down: what is wider than the width follows by itself, with its place.
    for (width, count) in by_length.iter().enumerate().rev() {
        let cost = packed_length(distances.len(), width) + wide_bytes;
        if cost <= best.1 {
            best = (width, cost);
        }
        wide += count;
        let place = if wide * 64 > distances.len() { 1 } else { 2 };
        wide_bytes += count * (width.div_ceil(7).max(1) + place);
    }
    best
}

/// The numbers that [`put_whole_numbers`] wrote.
pub(super) fn whole_numbers(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Damage> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mode = input.byte()?;
    let width = usize::from(input.byte()?);
    if width > 64 {
        return Err(Damage("a column is too wide"));
    }
    let (first, packed) = match mode {
        PLAIN => (None, count),
        DIFFERENCES => (Some(input.signed()?), count - 1),
        _ => return Err(Damage("a column has an unknown form")),
    };
    let centre = input.signed()?;
    let scale = input.unsigned()? as i64;
    let wide = input.count(packed)?;
    let mut distances = unpack(input.take(packed_length(packed, width))?, packed, width);
    let mut next = 0_usize;
    for _ in 0..wide {
        let at = next.saturating_add(input.count(packed)?);
        let distance = distances.get_mut(at).ok_or(Damage("a number has no place"))?;
        *distance = input.unsigned()?;
        next = at + 1;
    }
    let numbers = distances
        .into_iter()
        .map(|distance| from_zigzag(distance).wrapping_mul(scale).wrapping_add(centre));
    Ok(match first {
        None => numbers.collect(),
        Some(mut last) => std::iter::once(first.unwrap_or(0))
            .chain(numbers.map(|step| {
                last = last.wrapping_add(step);
                last
            }))
            .collect(),
    })
}

/// Appends values; every bit of them comes back.
pub(super) fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    for (places, power) in POWERS.iter().enumerate() {
        let whole = values.iter().map(|value| as_whole(*value, *power));
        if let Some(numbers) = whole.collect::<Option<Vec<i64>>>() {
            out.push(places as u8);
            return put_whole_numbers(out, &numbers);
        }
    }
    if values.iter().all(|value| f64::from(*value as f32).to_bits() == value.to_bits()) {
        out.push(SINGLE);
        let numbers = values.iter().map(|value| ordered_single((*value as f32).to_bits()));
        return put_whole_numbers(out, &numbers.collect::<Vec<_>>());
    }
    out.push(DOUBLE);
    let numbers = values.iter().map(|value| ordered_double(value.to_bits() as i64));
    put_whole_numbers(out, &numbers.collect::<Vec<_>>());
}

/// The values that [`put_values`] wrote.
pub(super) fn values(input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, Damage> {
    let form = input.byte()?;
    let numbers = whole_numbers(input, count)?.into_iter();
    Ok(match (form, POWERS.get(usize::from(form))) {
        (_, Some(power)) => numbers.map(|number| number as f64 / power).collect(),
        (SINGLE, None) => numbers.map(|n| f64::from(f32::from_bits(single(n)))).collect(),
        (DOUBLE, None) => numbers.map(|n| f64::from_bits(ordered_double(n) as u64)).collect(),
        _ => return Err(Damage("values have an unknown form")),
    })
}

fn as_whole(value: f64, power: f64) -> Option<i64> {
    let whole = (value * power).round();
    // Written so that what is not a number fails too.
    let fits = whole.abs() < WHOLE_MAX;
    let number = if fits { whole as i64 } else { return None };
    (number as f64 / power).to_bits().eq(&value.to_bits()).then_some(number)
}

/// Bits of neighbouring values to neighbouring numbers; its own inverse.
fn ordered_double(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn ordered_single(bits: u32) -> i64 {
    let bits = bits as i32;
    i64::from(bits ^ (((bits >> 31) as u32) >> 1) as i32)
}

fn single(number: i64) -> u32 {
    let bits = number as i32;
    (bits ^ (((bits >> 31) as u32) >> 1) as i32) as u32
}
