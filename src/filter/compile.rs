//! From the elements of `transforms` to steps, with everything that is wrong in them.

use http::Method;
use http::header::{self, HeaderName};

use super::answer::{self, Part, WHENS, When};
use super::element::{Element, Read, Write, shown};
use super::forward::{ACTIONS, Action, FORMATS, Format, Forwarded, XForwarded};
use super::path::PathStep;
use super::query::QueryStep;
use super::words::Main;
use super::work::Step;
use super::{Forwarding, Transforms};
use crate::base::violation::Violation;
use crate::model::TransformSpec;

/// What an element says of headers that no step names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copying {
    All,
    None,
    /// Some, by the element's own list.
    Listed,
}

/// What the elements so far come to.
#[derive(Default)]
struct Draft {
    steps: Vec<Step>,
    headers: Vec<answer::Step>,
    trailers: Vec<answer::Step>,
    copy: Option<Copying>,
    headers_copy: Option<Copying>,
    trailers_copy: Option<Copying>,
    original_host: Option<bool>,
    forwarding: Forwarding,
}

/// Compiles all elements, or finds everything that is wrong.
pub(super) fn compile(specs: &[TransformSpec]) -> Result<Transforms, Vec<Violation>> {
    let mut draft = Draft::default();
    let each = specs.iter().enumerate().map(|(at, spec)| Element::read(at, spec).and_then(|element| draft.add(&element)));
    let wrong: Vec<Violation> = each.filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(draft.finish()) } else { Err(wrong) }
}

impl Draft {
    fn finish(self) -> Transforms {
        let part = |steps: Vec<answer::Step>, copy| Part { steps: steps.into(), drop: dropping(copy) };
        let drop_headers = dropping(self.copy);
        let (host, removed) = match on_host(&self.steps) {
            Some(Step::Header(_, _, value)) => (value.to_str().ok().map(Into::into), false),
            last => (None, last.is_some()),
        };
        Transforms {
            drop_headers,
            // the client's own goes with the headers that are copied, and does not come back
            original_host: if removed && !drop_headers { Some(false) } else { self.original_host },
            host,
            steps: self.steps.into(),
            forwarding: self.forwarding,
            headers: part(self.headers, self.headers_copy),
            trailers: part(self.trailers, self.trailers_copy),
        }
    }

    fn add(&mut self, element: &Element<'_>) -> Read<()> {
        match element.row().0 {
            Main::PathPrefix => self.steps.push(Step::Path(PathStep::prefix(element.text()?))),
            Main::PathRemovePrefix => self.steps.push(Step::Path(PathStep::remove_prefix(element.text()?))),
            Main::PathSet => self.steps.push(Step::Path(PathStep::set(element.text()?))),
            Main::QueryValueParameter => {
                let (write, value) = element.value()?;
                self.steps.push(Step::Query(QueryStep::Value(write, element.text()?.into(), value.into())));
            }
            Main::QueryRemoveParameter => self.steps.push(Step::Query(QueryStep::Remove(element.text()?.into()))),
            // there are no route values here, so that these are complete and never do anything
            Main::QueryRouteParameter => drop((element.text()?, element.value()?)),
            Main::RequestHeaderRouteValue => drop((element.name()?, element.value()?)),
            Main::HttpMethodChange => self.steps.push(method_change(element)?),
            Main::RequestHeadersCopy => copying(&mut self.copy, copy_word(element)?, element)?,
            Main::RequestHeadersAllowed => {
                copying(&mut self.copy, Copying::Listed, element)?;
                self.steps.push(Step::Allow(element.names()?));
            }
            Main::RequestHeaderOriginalHost => original_host(&mut self.original_host, element)?,
            Main::RequestHeader => self.steps.push(request_header(element)?),
            Main::RequestHeaderRemove => self.steps.push(Step::Remove(element.name()?)),
            Main::XForwarded => {
                self.forwarding = Forwarding::Given;
                self.steps.push(Step::XForwarded(Box::new(x_forwarded(element)?)));
            }
            Main::Forwarded => {
                self.forwarding = Forwarding::Given;
                self.steps.push(Step::Forwarded(Box::new(forwarded(element)?)));
            }
            Main::ClientCert => self.steps.push(Step::ClientCert(element.written_name()?)),
            Main::ResponseHeadersCopy => copying(&mut self.headers_copy, copy_word(element)?, element)?,
            Main::ResponseHeadersAllowed => {
                copying(&mut self.headers_copy, Copying::Listed, element)?;
                self.headers.push(answer::Step::Allow(element.names()?));
            }
            Main::ResponseHeader => self.headers.push(answer_write(element)?),
            Main::ResponseHeaderRemove => self.headers.push(answer::Step::Remove(element.name()?, when(element)?)),
            Main::ResponseTrailersCopy => copying(&mut self.trailers_copy, copy_word(element)?, element)?,
            Main::ResponseTrailersAllowed => {
                copying(&mut self.trailers_copy, Copying::Listed, element)?;
                self.trailers.push(answer::Step::Allow(element.names()?));
            }
            Main::ResponseTrailer => self.trailers.push(answer_write(element)?),
            Main::ResponseTrailerRemove => self.trailers.push(answer::Step::Remove(element.name()?, when(element)?)),
        }
        Ok(())
    }
}

/// The last step that writes `Host` or removes it.
fn on_host(steps: &[Step]) -> Option<&Step> {
    steps.iter().rev().find(|step| matches!(step, Step::Header(_, name, _) | Step::Remove(name) if name == header::HOST))
}

fn dropping(copy: Option<Copying>) -> bool {
    matches!(copy, Some(Copying::None | Copying::Listed))
}

fn copy_word(element: &Element<'_>) -> Read<Copying> {
    Ok(if element.boolean()? { Copying::All } else { Copying::None })
}

/// Two elements may not say the opposite; a list goes with `false`, which it implies.
fn copying(known: &mut Option<Copying>, said: Copying, element: &Element<'_>) -> Read<()> {
    let all = known.is_some_and(|known| known == Copying::All);
    if known.is_some() && all != (said == Copying::All) {
        let main = element.row().1;
        return Err(element.wrong(main, format_args!("{main} contradicts an element before it: either all headers are copied or some")));
    }
    *known = Some(said);
    Ok(())
}

fn original_host(known: &mut Option<bool>, element: &Element<'_>) -> Read<()> {
    let said = element.boolean()?;
    if known.is_some_and(|known| known != said) {
        let main = element.row().1;
        return Err(element.wrong(main, format_args!("{main} contradicts an element before it")));
    }
    *known = Some(said);
    Ok(())
}

fn method_change(element: &Element<'_>) -> Read<Step> {
    let main = element.row().1;
    let Some(to) = element.get("Set") else { return Err(element.wrong(main, format_args!("{main} needs Set"))) };
    let (from, to) = (method(element, main, element.text()?)?, method(element, "Set", to)?);
    // the answers to these have no body, or are none: the client would wait for what never comes
    if to == Method::HEAD || to == Method::CONNECT {
        return Err(element.wrong("Set", format_args!("a request cannot become {to}: its answer is framed differently")));
    }
    Ok(Step::Method { from, to })
}

/// A method; the known ones without case, as nobody sends `get` on purpose.
fn method(element: &Element<'_>, key: &str, text: &str) -> Read<Method> {
    let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS]
        .into_iter()
        .chain([Method::CONNECT, Method::PATCH, Method::TRACE])
        .find(|known| known.as_str().eq_ignore_ascii_case(text));
    let given = || Method::from_bytes(text.as_bytes()).ok();
    known.or_else(given).ok_or_else(|| element.wrong(key, format_args!("{} is no method", shown(text))))
}

fn request_header(element: &Element<'_>) -> Read<Step> {
    let name = element.written_name()?;
    let (write, value) = element.header_value()?;
    if name == header::HOST && (write == Write::Append || value.is_empty()) {
        return Err(element.wrong(element.row().1, "a request has one Host: Set it"));
    }
    Ok(Step::Header(write, name, value))
}

fn answer_write(element: &Element<'_>) -> Read<answer::Step> {
    let name = element.written_name()?;
    let (write, value) = element.header_value()?;
    Ok(answer::Step::Write(write, name, value, when(element)?))
}

fn when(element: &Element<'_>) -> Read<When> {
    element.word("When", &WHENS, When::Success)
}

fn x_forwarded(element: &Element<'_>) -> Read<XForwarded> {
    let main = element.row().1;
    let default = element.word(main, &ACTIONS, Action::Set)?;
    let before = element.get("HeaderPrefix").unwrap_or("X-Forwarded-");
    let one = |part: &str| -> Read<(HeaderName, Action)> {
        Ok((element.name_of("HeaderPrefix", &format!("{before}{part}"))?, element.word(part, &ACTIONS, default)?))
    };
    Ok(XForwarded { client: one("For")?, proto: one("Proto")?, host: one("Host")?, prefix: one("Prefix")? })
}

fn forwarded(element: &Element<'_>) -> Read<Forwarded> {
    let main = element.row().1;
    let mut step = Forwarded { action: element.word("Action", &ACTIONS, Action::Set)?, proto: false, host: false, client: None, by: None };
    let client = element.word("ForFormat", &FORMATS, Format::RANDOM)?;
    let by = element.word("ByFormat", &FORMATS, Format::RANDOM)?;
    let mut parts = element.text()?.split([',', ' ']).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(element.wrong(main, format_args!("{main} names no part: for, by, host, proto")));
    }
    for part in parts {
        match part.to_ascii_lowercase().as_str() {
            "for" => step.client = Some(client),
            "by" => step.by = Some(by),
            "host" => step.host = true,
            "proto" => step.proto = true,
            _ => return Err(element.wrong(main, format_args!("{main} is a list of for, by, host, proto, not {}", shown(part)))),
        }
    }
    Ok(step)
}
