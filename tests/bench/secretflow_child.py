"""One side of a SecretFlow SPU intersection: `python secretflow_child.py CONFIG.json`, in SPU's own environment.

It imports nothing of the workbench. It writes REPORT: processor seconds and wall of the call, processor seconds of the
whole process, peak memory, and counts. Facts about the wheel: spu 0.9.5, `spu.psi.psi_execute`; the stub says
`link.ContextDesc`, the module has `link.Desc`.
"""

import json
import sys
import time
from pathlib import Path


def main(config_path: str) -> None:
    config = json.loads(Path(config_path).read_text())
    from spu import libspu, psi

    description = libspu.link.Desc()
    description.id = config["job"]
    for rank, address in enumerate(config["addresses"]):
        description.add_party(f"p{rank}", address)
    description.recv_timeout_ms = 120_000
    context = libspu.link.create_brpc(description, config["rank"])
    loaded_mb = _peak_mb()
    protocol = psi.PsiProtocolConfig(
        protocol=psi.parse_protocol(config["protocol"]), receiver_rank=0, broadcast_result=True
    )
    if config["curve"]:
        protocol.ecdh_params = psi.EcdhParams(curve=psi.parse_curve_type(config["curve"]))
    wall, processor = time.perf_counter(), time.process_time()
    report = psi.psi_execute(
        psi.PsiExecuteConfig(
            protocol_conf=protocol,
            # The lists have no duplicates; the engine believes it.
            input_params=psi.InputParams(path=config["input"], selected_keys=["id"], keys_unique=True),
            output_params=psi.OutputParams(path=config["output"], disable_alignment=True),
        ),
        context,
    )
    used = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - processor}
    context.stop_link()
    Path(config["report"]).write_text(
        json.dumps(
            {
                **{name: round(value, 3) for name, value in used.items()},
                "process_cpu_s": round(time.process_time(), 3),
                "loaded_mb": loaded_mb,
                "peak_mb": _peak_mb(),
                "common": report.intersection_count,
            }
        )
    )


def _peak_mb() -> int:
    # Not getrusage: its peak begins with that of the process which forked this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6)


if __name__ == "__main__":
    main(sys.argv[1])
