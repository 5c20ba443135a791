"""A trained network as a circuit, C and Verilog, each compared with it on test data."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from difflut.circuits import (
    DELAYS,
    FAMILIES,
    Circuit,
    InputWords,
    choose_stages,
    depths,
    estimate_cost,
    input_words,
    simplify,
    stages,
)
from difflut.circuits.arithmetic.clock import Depths
from difflut.circuits.arithmetic.head import HEADS
from difflut.circuits.passes.split import LUT_SIZE
from difflut.circuits.streaming.checks import check_streams
from difflut.circuits.writers.names import check_prefix
from difflut.circuits.writers.testbench import SIMULATORS
from difflut.config import ConfigurationError
from difflut.encoders.encoder import WORD_BITS
from difflut.models import LUTNetwork, load_checkpoint
from experiments.export.checks import check_back_ends, expect
from experiments.export.costs import PARTS, STREAM, find_costs
from experiments.export.files import Format, draw, write_design, write_files, write_formats
from experiments.export.narrowing import FEWEST, SMALLEST, narrowed
from experiments.export.steps import Steps
from experiments.export.streaming import forget, streaming_cost, write_streaming
from experiments.export.table import headline, write_table
from experiments.export.wishes import check_formats, check_tools
from experiments.runs import RunFolder, dataset_of
from experiments.shared.arguments import (
    check_effect,
    check_folder,
    check_lut_size,
    check_names,
    check_whole,
    configured,
)
from experiments.shared.failures import MismatchError, optional
from experiments.shared.files import write_json

MOST_UNROLLED = 2_000_000  # LUT6; more would fill the memory of a computer, and fit no device


def export_run(
    run: str,
    folder: str | None = None,
    lut_size: int | None = 6,
    pipeline: bool | Sequence[str] = True,
    max_width: int | str = 32,
    counts: bool = False,
    levels: int = 2,
    head: str = "tables",
    clock_mhz: float | None = None,
    simulated_samples: int | None = 1000,
    simulator: str = "auto",
    yosys: bool = False,
    prove: bool = False,
    place: str | None = None,
    families: Sequence[str] = (),
    prefix: str = "",
    formats: Sequence[Format] = (),
    streaming: bool = False,
    verilog: bool = True,
) -> dict[str, Any]:
    """Writes network.pt, circuit.npz, circuit.c, verilog/, plots, export.md and report.json; compares with the network.

    What is done by default and needs a tool that is missing is left out, and a line says why.

    Args:
        run: A run folder, or the name of a model that comes along; its best checkpoint is taken, and the test set of
            the data set that its result.json names.
        folder: Folder to write to; None is the folder `export` in the run's, or `runs/NAME/export` of a model.
        lut_size: Inputs that a LUT may have after simplification, which takes minutes from some 100,000 LUTs on; None
            leaves the circuit as trained.
        pipeline: Stages of the Verilog that registers follow ("encoder", "layer1", …, "compressors", "group_sum",
            "tournament", "argmax"); True is all, False none.
        max_width: The most bits of a feature. Where its thresholds need more, they are moved to the nearest that so
            many bits tell apart, and that network, in network.pt, is what is exported, measured and compared.
            "smallest" is the fewest bits with which as many validation rows are right as before.
        counts: Whether the counts are outputs of the Verilog too; the estimate has none of their registers.
        levels: Tables on a path between the registers of "compressors" and of "tournament": fewer for a faster clock.
        head: How votes are counted and compared: in "tables", or on carry "chains" and in LUTs of two outputs, which
            Xilinx devices have; then the costs are those of such a device.
        clock_mhz: A clock in MHz that the Verilog is to reach; `pipeline` and `levels` are then the fewest registers
            with which it does, by the estimate of delays on an ECP5.
        simulated_samples: Test samples for the simulator; None is all.
        simulator: "verilator", "iverilog", "auto" for what there is, or "none".
        yosys: Whether Yosys counts the LUTs of core and encoder.
        prove: Whether ABC proves the netlist equal to the circuit.
        place: "core", "circuit", the encoder too, or with `streaming` "stream", for nextpnr to place and route on an
            ECP5, which takes minutes and needs registers.
        families: Families of devices on which Yosys counts the cells of the whole design: "ecp5", "gatemate", "gowin",
            "ice40", "xilinx".
        prefix: Beginning of the names of C functions, Verilog modules and their files, so that several networks fit
            into one program or FPGA.
        formats: Formats for other tools, such as `[@formats.onnx, @formats.blif]`; each is one more file.
        streaming: Whether a network of convolutions is also written to streaming/, as Verilog that takes a pixel a
            clock and has each kernel once; registers follow all of its stages.
        verilog: Whether all of the network is written side by side to verilog/. With many detectors at every pixel that
            is millions of LUTs.

    Returns:
        The content of report.json.

    Raises:
        ConfigurationError: An argument is none of these or needs a tool or package that is missing, the run has no
            network, or the folder cannot be made.
        MismatchError: A back end differs from the network; raised when all have been compared and the report written.
        JobError: A step failed, such as a proof that takes too long; raised when all others are done.
    """
    _check_arguments(
        lut_size, pipeline, max_width, levels, head, clock_mhz, simulated_samples, simulator, place, streaming, families
    )
    if not verilog:
        only = {"yosys": yosys, "prove": prove, "families": families, "clock_mhz": clock_mhz}
        _check_no_verilog(streaming, simulator, place, pipeline=pipeline, counts=counts, **only)
    check_tools(simulator, yosys, prove, place, families)
    with configured():
        check_prefix(prefix)
        check_formats(formats)
        source, steps = RunFolder.open_finished(run), Steps()
        check_folder("export.folder", target := Path(folder) if folder else source.exports)
        data = dataset_of(source)
        network = narrowed(_checked_network(source, max_width, streaming), data, max_width)

    original = steps.run("from_model", lambda: Circuit.from_model(network))
    are_pixels = data.x_test.dtype == torch.uint8
    if verilog and original.sums:
        _check_size(original, input_words(original, are_pixels))
    circuit, simplified = original, None
    if lut_size is not None:
        circuit, simplified = steps.run("simplify", partial(simplify, original, lut_size))
        print(simplified)
    check_names("export.pipeline", [] if isinstance(pipeline, bool) else pipeline, stages(circuit))
    words = input_words(circuit, are_pixels)
    print(words)

    expected = expect(network, data.x_test, circuit.tau)
    accuracy = float((expected.classes == data.y_test.numpy()).mean())
    print(f"model.eval(): {accuracy:.2%} of {len(expected.x)} test samples right, {expected.speed:,.0f} samples/s")
    design = stream = unregistered = None
    if verilog:
        luts, deep = estimate_cost(circuit, words, head=head).total, depths(circuit, words, head)
        unregistered = DELAYS["ecp5"].period(deep.total, luts)
        if clock_mhz:
            pipeline, levels = _chosen_stages(deep, luts, clock_mhz)
    write_files(network, circuit, target, prefix, steps)
    forget(target / "streaming", *([] if verilog else [target / "verilog"]))
    samples = expected.first(simulated_samples)
    if verilog:
        options = {"pipeline": pipeline, "counts": counts, "levels": levels, "head": head}
        design = write_design(circuit, target, words, prefix, options, samples, steps)
    if streaming:
        once = {"levels": levels, "head": head, "prefix": prefix}
        write = partial(write_streaming, network, target, words, lut_size or LUT_SIZE, once, samples, steps)
        stream = steps.attempt("streaming", write, "export.streaming")
    write_formats(circuit, target, words, prefix, formats, steps)
    if simplified:
        with optional("plots"):
            draw(circuit, simplified, target)
    estimate = partial(estimate_cost, words=words, levels=levels, head=head)
    report = {
        "run": str(source.path),
        "dataset": source.result()["dataset"],
        "accuracy": accuracy,
        "simplification": simplified and vars(simplified),
        "words": str(words),
        "latency": design and design.latency,
        "unregistered_ns": unregistered,
        "samples": len(expected.x),
        "samples_per_second": expected.speed,
        "checks": check_back_ends(
            expected, circuit, design, stream and stream.design, target, prefix, simulator, steps
        ),
        "costs": find_costs(
            original, circuit, estimate, design, stream and stream.design, yosys, prove, place, families, steps
        ),
        "seconds": steps.seconds,
        "not_done": steps.not_done,
    }
    if stream:
        count = partial(streaming_cost, stream, levels, steps)
        report["costs"]["streaming"] = steps.attempt("estimate, streaming", count, "export.streaming")
    write_json(target / "report.json", report)
    write_table(report, target / "export.md")
    print(f"{headline(report)}\nwritten: {target}")
    _check_agreement(report)
    steps.check_done(target)
    return report


def _checked_network(source: RunFolder, max_width: int | str, streaming: bool) -> LUTNetwork:
    network = load_checkpoint(source.best).eval()
    if network.encoder is None:
        check_effect("export", {"max_width": max_width}, "on a network without encoder, which reads bits")
    if streaming:
        check_streams(network, network.hard())
    return network


def _chosen_stages(deep: Depths, luts: int, clock_mhz: float) -> tuple[list[str], int]:
    with configured():
        pipeline, levels = choose_stages(deep, luts, clock_mhz)
    print(f"registers for {clock_mhz:g} MHz by estimate: after {', '.join(pipeline)}; {levels} tables between them")
    return pipeline, levels


def _check_arguments(
    lut_size: int | None,
    pipeline: object,
    max_width: int | str,
    levels: int,
    head: str,
    clock_mhz: float | None,
    simulated_samples: int | None,
    simulator: str,
    place: str | None,
    streaming: bool,
    families: Sequence[str],
) -> None:
    """Checks what can be said without the network; the stages are its own."""
    check_names("export.simulator", [simulator], [*SIMULATORS, "auto", "none"])
    check_names("export.place", [place] if place else [], PARTS)
    check_names("export.families", families, FAMILIES)
    check_names("export.head", [head], HEADS)
    if clock_mhz is not None:
        if not clock_mhz > 0:
            raise ConfigurationError(f"export.clock_mhz = {clock_mhz} must be more than 0, or None")
        check_effect("export", {"pipeline": pipeline, "levels": levels}, "where export.clock_mhz chooses it")
    if lut_size is not None:
        check_lut_size("export.lut_size", lut_size)
    if max_width not in (SMALLEST, *WORD_BITS[1:]):
        raise ConfigurationError(
            f"export.max_width = {max_width!r} must be from {FEWEST} to {WORD_BITS[-1]}, or {SMALLEST!r}"
        )
    check_whole("export.levels", levels)
    if simulated_samples is not None and simulated_samples < 1:
        raise ConfigurationError(
            f"export.simulated_samples = {simulated_samples} must be at least 1, or None for all; "
            'export.simulator = "none" skips the simulation'
        )
    if simulator == "none":
        check_effect("export", {"simulated_samples": simulated_samples}, 'with export.simulator = "none"')
    if not isinstance(pipeline, bool | list | tuple):
        raise ConfigurationError(f"export.pipeline = {pipeline!r} must be True, False or a list of stages")
    if place == STREAM and not streaming:
        raise ConfigurationError('export.place = "stream" needs the streaming form: set export.streaming = True')
    if place and place != STREAM and not pipeline:
        raise ConfigurationError(f"export.place needs registers: set export.pipeline = True, got {pipeline!r}")


def _check_no_verilog(streaming: bool, simulator: str, place: str | None, **others: object) -> None:
    """Refuses what is about the Verilog of all placements, where there is none."""
    about = others | {"place": None if place == STREAM else place}
    if not streaming and simulator != "none":
        about["simulator"] = simulator
    check_effect("export", about, "with export.verilog = False")


def _check_size(circuit: Circuit, words: InputWords) -> None:
    """Refuses to write side by side what detectors at every pixel make too large."""
    if (luts := estimate_cost(circuit, words).total) > MOST_UNROLLED:
        raise ConfigurationError(
            f"the network takes {luts:,} LUT6 with its detectors at every pixel, too many for Verilog that has at most "
            f"{MOST_UNROLLED:,}; set export.verilog = False, and export.streaming = True, which has each detector once"
        )


def _check_agreement(report: dict[str, Any]) -> None:
    wrong = [
        f"{check['name']} differs from the network in {check['mismatches']} of {check['samples']} samples, "
        f"first in {check['first']}"
        for check in report["checks"].values()
        if check and check["mismatches"]
    ]
    proof = report["costs"].get("proof")
    wrong += ["the netlist is not equivalent to the circuit"] * bool(proof and not proof["equivalent"])
    if wrong:
        raise MismatchError("; ".join([*wrong, report["words"]]))
