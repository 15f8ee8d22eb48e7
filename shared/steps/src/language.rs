//! `language`: detects the language of a text offline, by its script and trigrams (crate
//! `whatlang`).
//!
//! If the language is uncertain, the cells stay empty and the row has a note: a wrong language would
//! lead to a wrong translation. The same text always gives the same result.

mod evidence;

use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::Row;
use rowmill_pipeline::LanguageStep;
use whatlang::{Detector, Info, Lang, Script};

use self::evidence::{Evidence, SHARE_MIN};
use crate::{Runner, SetupError, StepResult};

pub(crate) struct Language {
    column: String,
    /// The languages to choose from; empty for all.
    languages: Vec<Lang>,
    min_confidence: f64,
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
            min_confidence: step.min_confidence,
            detected: step.detected.as_str().into(),
            confidence: step.confidence.as_str().into(),
        })
    }

    /// The code of the language and the confidence (0 to 1).
    ///
    /// # Errors
    /// Why the language could not be detected, as a predicate of "the text".
    fn detect(&self, text: &str) -> Result<(&'static str, f64), String> {
        let evidence = Evidence::of(text);
        let Some(all) = self.info(&evidence.words) else {
            let has_letters = text.chars().any(char::is_alphabetic);
            return Err(match (has_letters, evidence.words.is_empty()) {
                (false, _) => "has no letters",
                (_, true) => "contains only URLs, hashtags and words with digits",
                _ if self.languages.is_empty() => "is not in a supported language",
                _ => "is not in any of `languages`",
            }
            .to_owned());
        };
        if !self.languages.is_empty() && !self.languages.contains(&all.lang()) {
            let found = code(all.lang());
            return Err(format!("looks like `{found}`, which is not in `languages`"));
        }
        let found = code(all.lang());
        if evidence.share < SHARE_MIN {
            return Err(format!("mixes scripts; most of it looks like `{found}`"));
        }
        // A name looks like the language that it comes from. Both must give the same language.
        let without_names = match evidence.words == evidence.words_without_names {
            true => Some(all.confidence()),
            false => self
                .info(&evidence.words_without_names)
                .filter(|info| info.lang() == all.lang())
                .map(|info| info.confidence()),
        };
        let confidence = without_names.unwrap_or(0.0).min(all.confidence());
        let confidence = rounded(confidence * evidence.share);
        if confidence < self.min_confidence {
            return Err(format!(
                "is too short or mixes languages: `{found}` with confidence {confidence}, below {}",
                self.min_confidence
            ));
        }
        Ok((found, confidence))
    }

    fn info(&self, words: &str) -> Option<Info> {
        match whatlang::detect_script(words)? {
            // With an allow list without Chinese, the detector takes Chinese for Japanese.
            Script::Mandarin => whatlang::detect(words),
            _ => self.detector.detect(words),
        }
    }
}

/// Two decimals: the detector is not more precise.
fn rounded(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}

#[async_trait]
impl Runner for Language {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let adds: [&str; 2] = [&self.detected, &self.confidence];
        let text = match StepResult::input_text(row, &self.column, &adds) {
            Ok(text) => text,
            Err(result) => return result,
        };
        match self.detect(&text) {
            Ok((found, confidence)) => StepResult::ok(
                vec![
                    (self.detected.clone(), found.into()),
                    (self.confidence.clone(), confidence.into()),
                ],
                1,
            ),
            Err(why) => {
                StepResult::empty(format!("{} not set: the text {why}", adds.join(" and ")))
            }
        }
    }

    async fn close(&self) {}
}

/// The ISO 639-1 code of a language. Norwegian is `no`, as in Amazon Translate and most software,
/// although whatlang detects Bokmål (`nb`).
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
    async fn the_languages_of_reviews_are_detected() {
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
    async fn an_uncertain_language_stays_empty_with_a_note() {
        for (languages, text, why) in [
            (&[][..], "", "column `Review` is empty"),
            (&[], "12345 !", "has no letters"),
            (&[], "\u{1F44D}\u{1F44D}", "has no letters"),
            (&[], "OK", "too short or mixes languages"),
            (&[], "asdf qwer zxcv", "too short or mixes languages"),
            (
                &["en", "de"],
                "정말 좋은 제품입니다",
                "`ko`, which is not in `languages`",
            ),
            (&["en", "ja"], "很好用", "`zh`, which is not in `languages`"),
            (
                &["en", "de"],
                "Отличный товар, рекомендую",
                "not in any of `languages`",
            ),
        ] {
            let result = run(languages, Some(text.into())).await;
            assert_eq!(result.outputs, Ok(vec![]), "{text}");
            let note = &result.notes[0];
            assert!(
                note.contains(why) && note.contains("lang_detected and confidence not set"),
                "{note}"
            );
        }
    }

    #[test]
    fn text_without_language_evidence_does_not_raise_the_confidence() {
        let emojis = ["👍", "❤️", "🙏", "😀"].map(|emoji| emoji.repeat(10));
        let noise = [
            " 12345 67890",
            " ½ ° № ☎ → ★★★★★",
            " https://a.example/das/ist/sehr/gut",
            " @benutzer #sehrgut",
            " 非常好",
            " Отличный товар",
            " مرحبا",
            " Ηλεκτρικό",
        ];
        let noise: Vec<String> = emojis.into_iter().chain(noise.map(str::to_owned)).collect();
        let texts = [
            "Great!",
            "Love it",
            "Thanks",
            "Nice",
            "Good",
            "Sehr gut",
            "Très déçu",
            "Muy bueno",
            "The battery died after two days and support never answered.",
            "Das Produkt kam pünktlich und funktioniert sehr gut.",
            "Отличный товар, рекомендую",
        ];
        for languages in [&[][..], &["en", "de", "fr", "es", "ru"]] {
            let step = step(languages);
            for text in texts {
                let alone = step.detect(text).ok();
                for noise in &noise {
                    let Ok((found, sure)) = step.detect(&format!("{text}{noise}")) else {
                        continue;
                    };
                    let (language, limit) = alone.unwrap_or(("-", 0.0));
                    assert!(
                        found == language && sure <= limit,
                        "{text}{noise}: {found} {sure}, alone {alone:?}"
                    );
                }
            }
        }
        // Emojis do not lower it either.
        let text = "Das Produkt kam pünktlich und funktioniert sehr gut.";
        let with_emojis = format!("{text} 👍👍👍 5/5");
        assert_eq!(step(&[]).detect(&with_emojis), step(&[]).detect(text));
    }

    #[test]
    fn a_name_does_not_tell_the_language_of_a_text() {
        let step = step(&[]);
        for text in [
            "OK, says Björn Gustafsson",
            "Thanks Giuseppe Bianchi",
            "Ordered from Müller Straße Königstein",
        ] {
            let found = step.detect(text);
            assert!(
                found.is_err() || found.as_ref().is_ok_and(|(code, _)| *code == "en"),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn fewer_languages_make_shorter_texts_detectable() {
        let text = "Der Akku hält lange";
        assert!(step(&[]).detect(text).is_err());
        assert_eq!(
            step(&["en", "de", "fr", "es"]).detect(text).unwrap().0,
            "de"
        );
    }

    #[test]
    fn unknown_languages_are_rejected_with_a_list_of_the_known_ones() {
        let step = Language::new(&LanguageStep {
            column: "Review".into(),
            languages: vec!["en".into(), "english".into()],
            min_confidence: 0.5,
            detected: "a".into(),
            confidence: "b".into(),
        });
        let error = step.err().unwrap().to_string();
        assert!(
            error.contains("`english`") && error.contains("de, "),
            "{error}"
        );
    }

    #[test]
    fn codes_are_two_letters_and_distinct() {
        let codes: std::collections::HashSet<_> = Lang::all().iter().map(|l| code(*l)).collect();
        assert_eq!(codes.len(), Lang::all().len());
        assert!(codes.iter().all(|c| c.len() == 2));
    }

    proptest! {
        #[test]
        fn detection_is_deterministic_and_never_panics(
            text in "\\PC{0,80}|([a-zäéñ]{1,9} ){0,30}|[а-яїω漢字かカ한글 ]{0,40}|(.|\n){0,40}",
            some in any::<bool>(),
        ) {
            let step = step(if some { &["en", "de", "ru", "ja"] } else { &[] });
            let detected = step.detect(&text);
            prop_assert_eq!(&detected, &step.detect(&text));
            if let Ok((code, sure)) = detected {
                prop_assert!(code.len() == 2 && (0.5..=1.0).contains(&sure));
            }
        }
    }
}
