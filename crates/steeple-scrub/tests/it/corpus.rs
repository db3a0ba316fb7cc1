//! Every secret of the corpus goes, every look-alike stays. Prints the table.

use std::collections::BTreeMap;

use steeple_scrub::{
    Scrubber,
    corpus::{self, Place},
};

#[test]
fn no_secret_leaks_and_no_lookalike_goes() {
    let scrubber = Scrubber::default();
    let mut rows: BTreeMap<Place, [usize; 4]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for secret in corpus::secrets() {
        let row = rows.entry(secret.place).or_default();
        row[0] += 1;
        assert!(secret.leaks_into(&secret.text), "the text must hold the secret: {secret:?}");
        let seen = secret.seen(&scrubber);
        if secret.leaks_into(&seen) {
            row[1] += 1;
            wrong.push(format!("LEAK {} {} {:?} -> {seen:?}", secret.kind, secret.place, secret.text));
        }
    }
    for lookalike in corpus::lookalikes() {
        let row = rows.entry(lookalike.place).or_default();
        row[2] += 1;
        let seen = lookalike.seen(&scrubber);
        if seen != lookalike.text {
            row[3] += 1;
            wrong.push(format!("GONE {} {} {:?} -> {seen:?}", lookalike.kind, lookalike.place, lookalike.text));
        }
    }
    println!("{:<12}{:>9}{:>9}{:>13}{:>15}", "place", "secrets", "leaked", "look-alikes", "wrongly gone");
    let mut total = [0; 4];
    for (place, row) in &rows {
        println!("{place:<12}{:>9}{:>9}{:>13}{:>15}", row[0], row[1], row[2], row[3]);
        total.iter_mut().zip(row).for_each(|(total, count)| *total += count);
    }
    println!("{:<12}{:>9}{:>9}{:>13}{:>15}", "all", total[0], total[1], total[2], total[3]);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(total[0] >= 400 && total[2] >= 400, "the corpus is too small: {total:?}");
}

#[test]
fn scrubbing_twice_changes_nothing() {
    let scrubber = Scrubber::default();
    for secret in corpus::secrets() {
        let once = secret.seen(&scrubber);
        let twice = corpus::Secret { text: once.clone(), ..secret.clone() }.seen(&scrubber);
        assert_eq!(twice, once, "{secret:?}");
    }
}

#[test]
fn the_corpus_is_the_same_each_time() {
    let texts = || corpus::secrets().into_iter().map(|secret| secret.text).collect::<Vec<_>>();
    assert_eq!(texts(), texts());
}
