//! Routes by number: per-route data is found by an index instead of a look-up by the route's text.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{OnceLock, PoisonError, RwLock},
};

use crate::{Text, name::Lifetime};

/// Most routes that have a number in one process.
pub const MAX_ROUTES: usize = 4096;

/// Room that texts which are made while the program runs may take, so that they never shut out a router's own.
const MAX_MADE: usize = MAX_ROUTES / 2;

const CHUNK: usize = 64;

/// The number of a route's template in this process: small, dense, the same for equal templates, never given twice.
///
/// See [`Exchange::route_id`](crate::Exchange::route_id) and [`Routes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(u16);

impl RouteId {
    /// The number of a template. `None` when 4,096 templates have one, or 2,048 that were made while the program ran and
    /// this is another of those: keep these together under one name.
    ///
    /// Cost: for a text that this thread asked for before, next to nothing where it was there before any request, as a router's
    /// own texts are, and a comparison where it was made for this one; for another text, a look-up.
    #[inline]
    pub fn of(template: &Text) -> Option<Self> {
        let text = template.as_str();
        // A text that is kept is never freed: its address stands for it.
        let known = RECENT.try_with(|places| places.get(slot(text))?.kept_at(text));
        known.ok().flatten().or_else(|| Self::of_another(template))
    }

    /// The number of a text that is not the one that is remembered in its place, or that may be another one by now.
    #[inline(never)]
    fn of_another(template: &Text) -> Option<Self> {
        let text = template.as_str();
        let remembered = RECENT.try_with(|places| places.get(slot(text))?.id()).ok().flatten();
        if let Some(id) = remembered
            && id.template().is_some_and(|known| known.as_str() == text)
        {
            return Some(id);
        }
        let (id, is_kept) = look_up(template)?;
        let _ending = RECENT.try_with(|places| places.get(slot(text)).map(|place| place.set(text, id, is_kept)));
        Some(id)
    }

    /// The template.
    pub fn template(self) -> Option<&'static Text> {
        TEMPLATES.get(self.index())?.get()
    }

    /// The number, from 0 on, below [`MAX_ROUTES`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    pub(crate) fn from_index(index: u16) -> Self {
        Self(index)
    }

    pub(crate) fn to_index(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteId({}, {:?})", self.0, self.template())
    }
}

/// How many routes each thread remembers: more than most services have.
const RECENT_ROUTES: usize = 512;

/// A text that a thread asked for, and the number that it found.
struct Recent {
    /// 0 for none.
    address: Cell<usize>,
    /// The number in the lowest 16 bits, then whether the text is [kept](Known::kept), then its length.
    rest: Cell<u64>,
}

impl Recent {
    const KEPT: u64 = 1 << 16;
    const LEN: u32 = 17;

    const fn new() -> Self {
        Self { address: Cell::new(0), rest: Cell::new(0) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are the number")]
    fn number(&self) -> RouteId {
        RouteId(self.rest.get() as u16)
    }

    /// The number, if this text is the one that it was found for, and is kept.
    #[inline]
    fn kept_at(&self, text: &str) -> Option<RouteId> {
        let is_it = self.address.get() == text.as_ptr().addr()
            && self.rest.get() >> 16 == ((text.len() as u64) << (Self::LEN - 16)) | (Self::KEPT >> 16);
        is_it.then(|| self.number())
    }

    /// The number, whatever it was found for.
    fn id(&self) -> Option<RouteId> {
        (self.address.get() != 0).then(|| self.number())
    }

    fn set(&self, text: &str, id: RouteId, is_kept: bool) {
        self.address.set(text.as_ptr().addr());
        let kept = if is_kept { Self::KEPT } else { 0 };
        self.rest.set((text.len() as u64) << Self::LEN | kept | u64::from(id.0));
    }
}

thread_local! {
    static RECENT: [Recent; RECENT_ROUTES] = const { [const { Recent::new() }; RECENT_ROUTES] };
}

/// Where a text is remembered. The allocator puts texts at multiples of 16 or 32: the product spreads them.
#[inline]
fn slot(text: &str) -> usize {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    const TOP: u32 = u64::BITS - RECENT_ROUTES.ilog2();
    let place = text.as_ptr().addr().wrapping_add(text.len()) as u64;
    usize::try_from(place.wrapping_mul(SPREAD).wrapping_shr(TOP)).unwrap_or_default()
}

static TEMPLATES: [OnceLock<Text>; MAX_ROUTES] = [const { OnceLock::new() }; MAX_ROUTES];
static NUMBERS: OnceLock<RwLock<Numbers>> = OnceLock::new();

#[derive(Default)]
struct Numbers {
    by_text: HashMap<Box<str>, Known>,
    made: usize,
}

struct Known {
    number: u16,
    /// Texts of this content that are never freed, so that a thread knows them by their address. One of each router that has the
    /// route; not of every request, as an inner router's texts are made.
    kept: Vec<Text>,
}

/// Most texts that are kept of each route.
const MAX_KEPT: usize = 4;

/// Most bytes of a text that is kept.
const MAX_KEPT_BYTES: usize = 256;

impl Known {
    /// The number, and whether the text is kept. `None`: it could be, and is not.
    fn find(&self, template: &Text) -> Option<(RouteId, bool)> {
        let text = template.as_str();
        let is_kept = match template.lifetime() {
            Lifetime::Process => true,
            Lifetime::Request => false,
            Lifetime::Configuration => {
                let is_kept = self.kept.iter().any(|kept| std::ptr::eq(kept.as_str(), text));
                if !is_kept && self.kept.len() < MAX_KEPT && text.len() <= MAX_KEPT_BYTES {
                    return None;
                }
                is_kept
            }
        };
        Some((RouteId(self.number), is_kept))
    }

    fn keep(&mut self, template: &Text) -> (RouteId, bool) {
        self.find(template).unwrap_or_else(|| {
            self.kept.push(template.clone());
            (RouteId(self.number), true)
        })
    }
}

/// The number of a template, and whether this very text is [kept](Known::kept).
#[cold]
fn look_up(template: &Text) -> Option<(RouteId, bool)> {
    let numbers = NUMBERS.get_or_init(RwLock::default);
    {
        let numbers = numbers.read().unwrap_or_else(PoisonError::into_inner);
        match numbers.by_text.get(template.as_str()).map(|known| known.find(template)) {
            Some(Some(found)) => return Some(found),
            // No number is ever given back. Those without one must not make the others wait.
            None if numbers.by_text.len() >= MAX_ROUTES => return None,
            Some(None) | None => {}
        }
    }
    let mut numbers = numbers.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = numbers.by_text.get_mut(template.as_str()) {
        return Some(known.keep(template));
    }
    if !template.is_fixed() && numbers.made >= MAX_MADE {
        return None;
    }
    let number = u16::try_from(numbers.by_text.len()).ok()?;
    // A copy, which is there however many texts of this content come and go.
    let _first = TEMPLATES.get(usize::from(number))?.set(Text::configured(template.as_str()));
    let mut known = Known { number, kept: Vec::new() };
    let found = known.keep(template);
    numbers.by_text.insert(template.as_str().into(), known);
    if !template.is_fixed() {
        numbers.made = numbers.made.saturating_add(1);
    }
    Some(found)
}

/// One `T` for each route, made when the route is first asked for and kept as long as this. Reading takes no lock.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use steeple_core::{RouteId, Routes, Text};
///
/// let counts = Routes::<AtomicU64>::new();
/// let id = RouteId::of(&Text::from_static("/users/{id}")).unwrap();
/// counts.get_or_init(id, AtomicU64::default).fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counts.get(id).unwrap().load(Ordering::Relaxed), 1);
/// ```
pub struct Routes<T> {
    chunks: [OnceLock<Box<[OnceLock<T>; CHUNK]>>; MAX_ROUTES / CHUNK],
}

impl<T> Routes<T> {
    /// Nothing for any route. Allocates per 64 routes, as they are asked for.
    pub const fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; MAX_ROUTES / CHUNK] }
    }

    /// What there is for this route.
    #[inline]
    pub fn get(&self, id: RouteId) -> Option<&T> {
        self.chunks.get(id.index() / CHUNK)?.get()?.get(id.index() % CHUNK)?.get()
    }

    /// What there is for this route, made now if there is nothing yet.
    ///
    /// # Panics
    /// When `make` does.
    #[inline]
    pub fn get_or_init(&self, id: RouteId, make: impl FnOnce() -> T) -> &T {
        #[expect(clippy::indexing_slicing, reason = "an index is below `MAX_ROUTES`, and the rest of it below `CHUNK`")]
        let place = &self.chunks[id.index() / CHUNK].get_or_init(|| Box::new([const { OnceLock::new() }; CHUNK]))
            [id.index() % CHUNK];
        place.get_or_init(make)
    }

    /// All that there is, in the order of the routes' numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &T)> {
        let places =
            self.chunks.iter().zip((0_u16..).step_by(CHUNK)).filter_map(|(chunk, first)| Some((chunk.get()?, first)));
        places.flat_map(|(chunk, first)| {
            chunk.iter().zip(first..).filter_map(|(place, number)| Some((RouteId(number), place.get()?)))
        })
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Routes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Exchange;

    #[test]
    fn equal_templates_have_one_number_on_every_thread_and_made_ones_leave_room() {
        let ids =
            |_| (0..100).map(|n| RouteId::of(&Text::configured(format!("/one/{n}"))).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || ids(n))).collect();
        let all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().all(|ids| *ids == all[0]));
        assert_eq!(all[0].iter().collect::<HashSet<_>>().len(), 100);
        assert_eq!(all[0][7].template().unwrap().as_str(), "/one/7");
        let made = (0..MAX_ROUTES).filter_map(|n| RouteId::of(&Text::from(format!("/made/{n}")))).count();
        assert!(made <= MAX_MADE && made > 0, "{made}");
        assert!(RouteId::of(&Text::from_static("/the/routers/own")).is_some());
        assert!(RouteId::of(&Text::from(String::from("/one/7"))).is_some(), "known routes keep their number");
    }

    #[test]
    fn a_text_has_its_number_wherever_it_is_and_whatever_was_there_before() {
        let id = |text: &Text| RouteId::of(text).unwrap();
        let is_its = |text: &Text| id(text).template().unwrap() == text && id(text) == id(&text.clone());
        // Routers with the same routes, dropped again: more than are kept.
        for round in 0..3 * MAX_KEPT {
            for route in 0..50 {
                let text = Text::configured(format!("/again/{route}"));
                assert!(is_its(&text), "{round}: {text}");
            }
        }
        // Texts of one length that are freed at once, so that the next one is where the last one was.
        for number in 0..1_000 {
            let text = Text::from(format!("/made/{}", number % 7));
            assert!(is_its(&text), "{text}");
            drop(text);
            let text = Text::configured(format!("/conf/{}", number % 7));
            assert!(is_its(&text), "{text}");
        }
        let numbers = NUMBERS.get().unwrap().read().unwrap();
        assert!(numbers.by_text.values().all(|known| known.kept.len() <= MAX_KEPT));
        assert_eq!(numbers.by_text["/again/7"].kept.len(), MAX_KEPT);
        assert!(numbers.by_text["/made/1"].kept.is_empty());
    }

    #[test]
    fn an_exchange_learns_its_routes_number_and_learns_anew_when_the_route_changes() {
        let exchange = Exchange::detached();
        assert_eq!(exchange.route_id(), None);
        exchange.report_route("/a/{*rest}");
        let first = exchange.route_id().unwrap();
        assert_eq!((first.template().unwrap().as_str(), exchange.route_id()), ("/a/{*rest}", Some(first)));
        exchange.report_route("/a/b/{id}");
        assert_eq!(exchange.route_id().unwrap().template().unwrap().as_str(), "/a/b/{id}");
    }

    #[test]
    fn each_route_has_what_was_made_for_it() {
        let routes = Routes::new();
        let ids = ["/x", "/y"].map(|text| RouteId::of(&Text::from_static(text)).unwrap());
        assert_eq!(routes.get(ids[0]), None);
        assert_eq!((routes.get_or_init(ids[0], || 1), routes.get_or_init(ids[1], || 2)), (&1, &2));
        assert_eq!(routes.get_or_init(ids[0], || 3), &1);
        assert_eq!(routes.iter().map(|(_, value)| *value).sum::<i32>(), 3);
    }
}
