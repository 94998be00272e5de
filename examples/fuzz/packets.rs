//! Packets of every kind and both versions, and what is done to them.

/// A small generator of its own: a run can be repeated by its seed (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

pub(crate) fn connect(version: u8, name: &str, dice: &mut Dice) -> Vec<u8> {
    let flags: u8 = dice.one(&[0, 2, 2, 2, 0x06, 0x2E]);
    let mut body = text("MQTT");
    body.extend([version, flags, 0, 60]);
    if version == 5 {
        let properties: &[u8] = dice.one(&[&[], &[0x11, 0, 0, 0, 2], &[0x21, 0, 5, 0x22, 0, 9]]);
        body.push(properties.len() as u8);
        body.extend(properties);
    }
    body.extend(text(name));
    if flags & 4 != 0 {
        body.extend((version == 5).then_some(0));
        body.extend(text("fuzz/will"));
        body.extend(text("gone"));
    }
    packet(0x10, &body)
}

/// Any packet that a client may send once it is connected.
pub(crate) fn any(version: u8, dice: &mut Dice) -> Vec<u8> {
    let id = (dice.below(20) as u16 + 1).to_be_bytes();
    match dice.below(10) {
        0..3 => publish(version, id, dice),
        3..6 => {
            let first = dice.one(&[0x40, 0x50, 0x62, 0x70]);
            let mut body = id.to_vec();
            if version == 5 && dice.below(2) == 0 {
                body.push(dice.one(&[0, 0x10, 0x80, 0x92, 0x97]));
                body.extend(dice.one::<&[u8]>(&[&[], &[0], &[4, 0x1F, 0, 1, b'x']]));
            }
            packet(first, &body)
        }
        6..8 => {
            let mut body = id.to_vec();
            if version == 5 {
                body.extend(dice.one::<&[u8]>(&[&[0], &[2, 0x0B, 7]]));
            }
            for _ in 0..=dice.below(3) {
                let filters = ["fuzz/#", "fuzz/+", "$share/f/fuzz/#", "+/a", "fuzz/a", "$SYS/#"];
                body.extend(text(dice.one(&filters)));
                body.push(dice.one(&[0, 1, 2, 0x2C, 0x10]));
            }
            packet(0x82, &body)
        }
        8 => {
            let mut body = id.to_vec();
            body.extend((version == 5).then_some(0));
            body.extend(text(dice.one(&["fuzz/#", "fuzz/+", "nothing"])));
            packet(0xA2, &body)
        }
        _ => dice.one::<&[u8]>(&[&[0xC0, 0], &[0xC0, 0], &[0xC0, 0], &[0xE0, 0]]).to_vec(),
    }
}

fn publish(version: u8, id: [u8; 2], dice: &mut Dice) -> Vec<u8> {
    let flags: u8 = dice.one(&[0, 0, 1, 2, 3, 4, 5, 0x0A, 0x0C]);
    let topics = ["fuzz/a", "fuzz/b", "fuzz/a/b", "telemetry/fuzz/value", "fuzz"];
    let mut body = text(dice.one(&topics));
    if flags & 6 != 0 {
        body.extend(id);
    }
    if version == 5 {
        let lists: [&[u8]; 5] = [
            &[0],
            &[5, 2, 0, 0, 0, 1],
            &[3, 0x23, 0, 1],
            &[2, 1, 1],
            &[7, 0x26, 0, 1, b'k', 0, 1, b'v'],
        ];
        body.extend(dice.one(&lists));
    }
    let size = dice.one(&[0, 1, 20, 20, 200, 5000]);
    body.resize(body.len() + size, b'7');
    packet(0x30 | flags, &body)
}

/// Changes a few bytes, the length, the order, or nothing.
pub(crate) fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.one(&[0usize, 0, 0, 0, 0, 0, 1, 1, 2, 5]) {
        let at = dice.below(bytes.len());
        match dice.below(7) {
            0 => bytes[at] = dice.roll() as u8,
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.truncate(at.max(1)),
            3 => bytes.insert(at, dice.roll() as u8),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = at + dice.below(bytes.len() - at);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] = dice.one(&[0, 0x7F, 0x80, 0xFF]),
        }
        if bytes.is_empty() {
            return bytes.push(0);
        }
    }
}
