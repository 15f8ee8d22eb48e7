//! `language`: the language of a text, offline, by its script and its trigrams (crate `whatlang`).
//!
//! A language that cannot be told is left open, with the reason: a wrong one would send the text to
//! the wrong translation. What is told is the same for the same text, always.

use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::Row;
use rowmill_pipeline::LanguageStep;
use whatlang::{Detector, Info, Lang, Script};

use crate::{Runner, SetupError, StepResult};

pub(crate) struct Language {
    column: String,
    /// Empty for all.
    languages: Vec<Lang>,
    least: f64,
    detected: Arc<str>,
    confidence: Arc<str>,
    detector: Detector,
}

impl Language {
    pub(crate) fn new(step: &LanguageStep) -> Result<Language, SetupError> {
        let languages = step
            .languages
            .iter()
            .map(|text| {
                let known = || Lang::all().iter().copied();
                let found = known().find(|lang| code(*lang) == text);
                found.ok_or_else(|| SetupError::Language {
                    code: text.clone(),
                    known: known().map(code).collect::<Vec<_>>().join(", "),
                })
            })
            .collect::<Result<Vec<Lang>, _>>()?;
        Ok(Language {
            column: step.column.clone(),
            detector: match &*languages {
                [] => Detector::new(),
                some => Detector::with_allowlist(some.to_vec()),
            },
            languages,
            least: step.min_confidence,
            detected: step.detected.as_str().into(),
            confidence: step.confidence.as_str().into(),
        })
    }

    /// The language and how sure that is (0 to 1), or why it cannot be told.
    fn tell(&self, text: &str) -> Result<(&'static str, f64), String> {
        let info = match whatlang::detect_script(text) {
            None => return Err("has no letters".to_owned()),
            // The detector takes what is not allowed to be Chinese for Japanese.
            Some(Script::Mandarin) => whatlang::detect(text),
            Some(_) => self.detector.detect(text),
        };
        let Some(info) = info else {
            return Err("is in none of `languages`".to_owned());
        };
        let (found, sure) = (code(info.lang()), rounded(&info));
        if !self.languages.is_empty() && !self.languages.contains(&info.lang()) {
            return Err(format!("looks like `{found}`, which is not in `languages`"));
        }
        if sure < self.least {
            return Err(format!(
                "is too short or too mixed: `{found}` with confidence {sure}, below {}",
                self.least
            ));
        }
        Ok((found, sure))
    }
}

/// Two decimals: the detector's own scale is coarser.
fn rounded(info: &Info) -> f64 {
    (info.confidence() * 100.0).round() / 100.0
}

#[async_trait]
impl Runner for Language {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let adds: [&str; 2] = [&self.detected, &self.confidence];
        let text = match StepResult::text(row, &self.column, &adds) {
            Ok(text) => text,
            Err(result) => return result,
        };
        match self.tell(&text) {
            Ok((found, sure)) => StepResult::ok(
                vec![
                    (self.detected.clone(), found.into()),
                    (self.confidence.clone(), sure.into()),
                ],
                1,
            ),
            Err(why) => StepResult::none(format!("no {}: the text {why}", adds.join(" and "))),
        }
    }

    async fn close(&self) {}
}

/// The code of ISO 639-1, which people and translation services know languages by. Norwegian is
/// `no`, as Amazon and most software have it, not the `nb` of its more common form.
fn code(lang: Lang) -> &'static str {
    match lang {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "no",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        Lang::Cym => "cy",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rowmill_domain::record::Columns;
    use rowmill_domain::{Record, Value};

    use super::*;

    fn step(languages: &[&str]) -> Language {
        Language::new(&LanguageStep {
            column: "Review".into(),
            languages: languages.iter().map(|l| (*l).to_owned()).collect(),
            min_confidence: 0.5,
            detected: "lang_detected".into(),
            confidence: "confidence".into(),
        })
        .unwrap()
    }

    async fn run(languages: &[&str], value: Option<Value>) -> StepResult {
        let columns = Columns::new(["Review"]);
        let record = Record {
            row: 2,
            values: vec![value],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        step(languages).run(row).await
    }

    #[tokio::test]
    async fn languages_of_reviews() {
        for (text, expected) in [
            ("Das Produkt kam pünktlich und funktioniert sehr gut.", "de"),
            (
                "Très déçu, la machine est tombée en panne après deux jours.",
                "fr",
            ),
            (
                "The battery died after two days and support never answered.",
                "en",
            ),
            (
                "La batería se descarga muy rápido y nadie contesta en el servicio técnico.",
                "es",
            ),
            ("Jag är väldigt nöjd med produkten", "sv"),
            ("Отличный товар, рекомендую", "ru"),
            ("これは素晴らしい製品です", "ja"),
            ("很好用", "zh"),
            ("정말 좋은 제품입니다", "ko"),
        ] {
            let outputs = run(&[], Some(text.into())).await.outputs.unwrap();
            assert_eq!(
                outputs[0],
                ("lang_detected".into(), expected.into()),
                "{text}"
            );
            let Value::Number(sure) = outputs[1].1 else {
                panic!("{outputs:?}")
            };
            assert!((0.5..=1.0).contains(&sure), "{text}: {sure}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_told_is_left_open_with_the_reason() {
        for (languages, text, why) in [
            (&[][..], "", "column `Review` is empty"),
            (&[], "12345 !", "has no letters"),
            (&[], "\u{1F44D}\u{1F44D}", "has no letters"),
            (&[], "OK", "too short or too mixed"),
            (&[], "asdf qwer zxcv", "too short or too mixed"),
            (
                &["en", "de"],
                "정말 좋은 제품입니다",
                "`ko`, which is not in `languages`",
            ),
            (&["en", "ja"], "很好用", "`zh`, which is not in `languages`"),
            (
                &["en", "de"],
                "Отличный товар, рекомендую",
                "in none of `languages`",
            ),
        ] {
            let result = run(languages, Some(text.into())).await;
            assert_eq!(result.outputs, Ok(vec![]), "{text}");
            let note = &result.notes[0];
            assert!(
                note.contains(why) && note.contains("no lang_detected and confidence"),
                "{note}"
            );
        }
    }

    #[test]
    fn with_fewer_languages_shorter_texts_can_be_told() {
        let text = "Der Akku hält lange";
        assert!(step(&[]).tell(text).is_err());
        assert_eq!(step(&["en", "de", "fr", "es"]).tell(text).unwrap().0, "de");
    }

    #[test]
    fn languages_nobody_can_tell_are_refused_with_those_that_can() {
        let wrong = Language::new(&LanguageStep {
            column: "Review".into(),
            languages: vec!["en".into(), "english".into()],
            min_confidence: 0.5,
            detected: "a".into(),
            confidence: "b".into(),
        });
        let told = wrong.err().unwrap().to_string();
        assert!(
            told.contains("`english`") && told.contains("de, "),
            "{told}"
        );
    }

    #[test]
    fn codes_are_two_letters_each_its_own() {
        let codes: std::collections::HashSet<_> = Lang::all().iter().map(|l| code(*l)).collect();
        assert_eq!(codes.len(), Lang::all().len());
        assert!(codes.iter().all(|c| c.len() == 2));
    }

    proptest! {
        #[test]
        fn the_same_text_gives_the_same_and_none_panics(
            text in "\\PC{0,80}|([a-zäéñ]{1,9} ){0,30}|[а-яїω漢字かカ한글 ]{0,40}|(.|\n){0,40}",
            some in any::<bool>(),
        ) {
            let step = step(if some { &["en", "de", "ru", "ja"] } else { &[] });
            let told = step.tell(&text);
            prop_assert_eq!(&told, &step.tell(&text));
            if let Ok((code, sure)) = told {
                prop_assert!(code.len() == 2 && (0.5..=1.0).contains(&sure));
            }
        }
    }
}
