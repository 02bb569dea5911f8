//! Writing what is wanted and reading all of it back, both at once: neither the
//! network, nor the cores, nor the medium wait for each other.

use std::sync::Mutex;

use payload_tools::fetch_plan::{Job, Origin, Wanted};

use super::crew::{self, Duty};
use super::delta::Delta;
use super::error::InstallError;
use super::head::KernelHead;
use super::index::{Indexed, advance};
use super::progress::{Meter, Phase};
use super::read_back::{Finding, read_back_segment};
use super::schedule::{Schedule, Segment, Work};
use super::segment::{Bench, Brought, SegmentWriter};
use super::source::PayloadSource;
use crate::poison::{into_inner, lock};

/// Writes the groups of both images that are wanted, flushes, and reads back every group, wanted
/// or not: those that are not what they should be. `head` keeps the kernel's head, which is not
/// written.
pub(super) fn write_and_read_back(
    images: [&Indexed<'_>; 2],
    wanted: &[Wanted; 2],
    head: &Mutex<Option<KernelHead>>,
    source: &dyn PayloadSource,
    meter: &Meter<'_>,
) -> Result<Vec<Finding>, InstallError> {
    let (writes, there) = sort(images, wanted);
    let by_delta = writes.iter().any(|(_, job)| matches!(job.origin, Origin::Delta(..)));
    let crew = if by_delta { crew::CREW_OF_DELTA } else { crew::CREW };
    let bytes_there: usize = there.iter().map(|of| images[of.image].segment_len(of.segment)).sum();
    advance(meter, Phase::Writing, bytes_there)?;
    let pipeline = Pipeline {
        writers: [0, 1].map(|image| SegmentWriter {
            indexed: images[image],
            wanted: &wanted[image],
            source,
            meter,
            head,
        }),
        schedule: Schedule::new(writes, there),
        findings: Mutex::new(Vec::new()),
    };
    crew::run(crew, |duty, _| pipeline.work(duty))?;
    Ok(into_inner(pipeline.findings))
}

/// The segments that are to be written, and those that the target has.
fn sort(images: [&Indexed<'_>; 2], wanted: &[Wanted; 2]) -> (Vec<(usize, Job)>, Vec<Segment>) {
    let (mut writes, mut there) = (Vec::new(), Vec::new());
    for (image, (indexed, wanted)) in images.into_iter().zip(wanted).enumerate() {
        let jobs = wanted.jobs(indexed.table, indexed.delta.as_ref().map(Delta::head));
        let mut jobs = jobs.into_iter().peekable();
        for segment in 0..indexed.segments() {
            match jobs.next_if(|job| job.segment == segment) {
                Some(job) => writes.push((image, job)),
                None => there.push(Segment { image, segment }),
            }
        }
    }
    (writes, there)
}

struct Pipeline<'a> {
    writers: [SegmentWriter<'a>; 2],
    schedule: Schedule,
    findings: Mutex<Vec<Finding>>,
}

impl Pipeline<'_> {
    /// What one thread does.
    fn work(&self, duty: Duty) -> Result<(), InstallError> {
        let mut bench = Bench::new();
        while let Some(mut piece) = self.schedule.next(duty) {
            match &piece.work {
                Work::Write(image, job) => {
                    let (image, writer) = (*image, &self.writers[*image]);
                    match writer.write_segment((duty, job), &mut bench, &mut piece.charge)? {
                        Brought::Written => {
                            let len = writer.indexed.segment_len(job.segment);
                            advance(writer.meter, Phase::Writing, len)?;
                        }
                        Brought::NotDecoded(job) => {
                            piece.postponed(image, job);
                            continue;
                        }
                        Brought::GivenUp => return Ok(()),
                    }
                }
                Work::Flush(segments) => self.flush(segments)?,
                Work::ReadBack(segment) => self.read_back(*segment, &mut bench)?,
            }
            piece.finished();
        }
        Ok(())
    }

    fn flush(&self, segments: &[Segment]) -> Result<(), InstallError> {
        for (image, writer) in self.writers.iter().enumerate() {
            if segments.iter().any(|of| of.image == image) {
                let role = writer.indexed.image.role;
                let failed = |source| InstallError::Flush { role, source };
                writer.indexed.target.flush().map_err(failed)?;
            }
        }
        Ok(())
    }

    fn read_back(&self, of: Segment, bench: &mut Bench) -> Result<(), InstallError> {
        let SegmentWriter { indexed, meter, head, .. } = &self.writers[of.image];
        let findings = read_back_segment(indexed, of.segment, head, &mut bench.segment, meter)?;
        lock(&self.findings).extend(findings);
        advance(meter, Phase::ReadingBack, indexed.segment_len(of.segment))
    }
}
