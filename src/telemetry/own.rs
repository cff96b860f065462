//! The process's own figures under the names of every Prometheus client. Counts nothing of the gateway's.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

/// The figure that the library cuts to whole seconds: a gateway with little to do would stand still for minutes, then jump.
const CPU: &str = "process_cpu_seconds_total";

/// What the library collects, its processor time with fractions.
pub(super) struct Own(ProcessCollector);

impl Own {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for metric in families.iter_mut().filter(|family| family.name() == CPU).flat_map(MetricFamily::mut_metric) {
            let mut seconds = Counter::default();
            seconds.set_value(cpu_seconds());
            metric.set_counter(seconds);
        }
        families
    }
}

/// What all threads have used so far, those that ended included, in user and in system mode.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(used).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(own: &Own) -> f64 {
        let families = own.collect();
        let [metric] = families.iter().find(|family| family.name() == CPU).unwrap().get_metric() else { panic!("one figure") };
        metric.get_counter().get_value()
    }

    #[test]
    fn processor_time_is_told_to_the_fraction() {
        let own = Own::new();
        let began = cpu_seconds();
        while cpu_seconds() < began + 0.05 {
            let (before, told, after) = (cpu_seconds(), told(&own), cpu_seconds());
            assert!(before <= told && told <= after, "{told} between {before} and {after}");
        }
    }

    #[test]
    fn every_figure_of_the_library_is_still_there() {
        let names = |families: Vec<MetricFamily>| families.iter().map(|family| family.name().to_owned()).collect::<Vec<_>>();
        let had = names(ProcessCollector::for_self().collect());
        assert_eq!((names(Own::new().collect()), had.len()), (had, 7));
    }
}
