"""Demonstration corpora, made by our own code from a fixed seed: small, varied, bilingual."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import struct
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SITES = ("变电站", "化工园区", "港口码头", "数据机房", "地下管廊", "汽车工厂")
PARTS = ("阀门", "仪表", "电缆接头", "传送带", "机械臂关节", "冷却风扇")
FINDINGS = ("温度偏高", "有渗漏痕迹", "读数正常", "振动超限", "外壳松动", "指示灯熄灭")
ACTIONS = ("拍照并上报", "在三米外复测", "标记后继续巡检", "通知值班员", "减速绕行", "记录读数")
DISTRICTS = ("天河区", "越秀区", "海珠区", "番禺区", "黄埔区", "南沙区")


def inspection(folder: Path) -> None:
    """Instructions for humanoid inspection robots, Chinese, train and test."""
    rng = random.Random(2026)
    rows = []
    for n in range(1500):
        site, part = rng.choice(SITES), rng.choice(PARTS)
        finding, action = rng.choice(FINDINGS), rng.choice(ACTIONS)
        number = rng.randrange(10, 99)
        rows.append(
            {
                "id": f"insp-{n:05d}",
                "instruction": f"巡检机器人在{site}第 {number} 号点位发现{part}{finding}，"
                "应当怎么做？",
                "input": f"环境温度 {rng.randrange(18, 41)} ℃，照度 {rng.randrange(50, 900)} lx",
                "output": f"先{action}，再核对第 {number} 号点位的历史记录；若{part}仍然{finding}，"
                f"在 {rng.randrange(5, 30)} 分钟内提交工单。",
            }
        )
    _jsonl(folder / "train.jsonl", rows[:1200])
    _jsonl(folder / "test.jsonl", rows[1200:])
    _jsonl(folder / "sample.jsonl", rows[:20])


def preferences(folder: Path) -> None:
    """Pairs of answers of which one is preferred, compressed."""
    rng = random.Random(7)
    rows = []
    for n in range(800):
        part, finding = rng.choice(PARTS), rng.choice(FINDINGS)
        rows.append(
            {
                "prompt": f"{part}{finding}时，机器人可以继续靠近吗？（编号 {n}）",
                "chosen": f"不可以。先保持安全距离，{rng.choice(ACTIONS)}，等待人工确认。",
                "rejected": "可以，直接靠近检查即可。",
            }
        )
    with gzip.GzipFile(folder / "pairs.jsonl.gz", "wb", mtime=0) as out:
        for row in rows:
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    _jsonl(folder / "sample.jsonl", rows[:10])


def arithmetic(folder: Path) -> None:
    """A benchmark of word problems in Chinese and English, free of charge."""
    rng = random.Random(11)
    rows = []
    for n in range(400):
        a, b, c = rng.randrange(3, 60), rng.randrange(3, 60), rng.randrange(2, 9)
        zh = n % 2 == 0
        rows.append(
            {
                "question": f"仓库有 {a} 箱零件，又运来 {b} 箱，每箱 {c} 个，一共有多少个零件？"
                if zh
                else f"A depot holds {a} boxes and receives {b} more, {c} parts in each. "
                "How many parts are there?",
                "answer": str((a + b) * c),
                "lang": "zh" if zh else "en",
            }
        )
    _jsonl(folder / "benchmark.jsonl", rows)


def charging(folder: Path) -> None:
    """Hourly load of electric-vehicle charging stations in six districts, as a table."""
    rng = random.Random(3)
    lines = ["station,district,hour,load_kw,sessions,available"]
    for day in range(20):
        for i, district in enumerate(DISTRICTS):
            for hour in range(24):
                load = 300 + 200 * math.sin((hour - 6) / 24 * 2 * math.pi) + rng.gauss(0, 15)
                lines.append(
                    f"GZ-{i + 1:03d},{district},2026-06-{day + 1:02d}T{hour:02d}:00:00,"
                    f"{load:.1f},{max(0, int(load / 30))},{'true' if load < 480 else 'false'}"
                )
    (folder / "load.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "sample.csv").write_text("\n".join(lines[:40]) + "\n", encoding="utf-8")


def trajectories(folder: Path) -> None:
    """Joint trajectories of a simulated seven-axis arm, as Parquet with lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(5)
    for task in ("pick", "place", "home"):
        frames = 240
        phase = [rng.uniform(0, math.pi) for _ in range(7)]
        state = [[round(math.sin(t / 20 + p) * 0.8, 5) for p in phase] for t in range(frames)]
        table = pa.table(
            {
                "frame": pa.array(range(frames), pa.int64()),
                "timestamp": pa.array([t / 30 for t in range(frames)], pa.float64()),
                "joint_position": pa.array(state, pa.list_(pa.float32())),
                "gripper": pa.array([t % 60 < 30 for t in range(frames)], pa.bool_()),
            }
        )
        pq.write_table(table, folder / f"{task}.parquet", compression="zstd")
    (folder / "README.md").write_text(
        "# Simulated seven-axis arm\n\nPositions in rad at 30 frames a second.\n", encoding="utf-8"
    )


def tones(folder: Path) -> None:
    """Warning tones of machines, as WAV, with a table of labels."""
    lines = ["file,label,frequency_hz"]
    for n in range(12):
        frequency = 220 + 60 * n
        data = b"".join(
            struct.pack("<h", int(12000 * math.sin(2 * math.pi * frequency * t / 8000)))
            for t in range(4000)
        )
        with wave.open(str(folder / f"tone_{n:02d}.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(data)
        lines.append(f"tone_{n:02d}.wav,{('normal', 'notice', 'alarm')[n % 3]},{frequency}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def gauges(folder: Path) -> None:
    """Drawn gauges with their readings, as PNG, for reading instruments."""
    lines = ["file,reading"]
    for n in range(12):
        (folder / f"gauge_{n:02d}.png").write_bytes(_gauge(n * 8))
        lines.append(f"gauge_{n:02d}.png,{n * 8}")
    (folder / "readings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def manuals(folder: Path) -> None:
    """Short maintenance texts for pre-training, Chinese, one record a line."""
    rng = random.Random(13)
    rows = []
    for n in range(600):
        site, part = rng.choice(SITES), rng.choice(PARTS)
        rows.append(
            {
                "text": f"{site}的{part}每 {rng.randrange(2, 12)} 个月检修一次。检修前断开电源，"
                f"悬挂警示牌，由两人共同作业。发现{rng.choice(FINDINGS)}时，{rng.choice(ACTIONS)}，"
                f"并在第 {n + 1} 号记录表上签名。",
                "source": "own",
            }
        )
    _jsonl(folder / "corpus.jsonl", rows)
    _jsonl(folder / "sample.jsonl", rows[:10])


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _gauge(reading: int) -> bytes:
    """Return a 96 × 96 grey PNG of a dial whose needle points at the reading of 0 to 100."""
    size, centre = 96, 48
    angle = math.radians(225 - 270 * reading / 100)
    needle = {
        (round(centre + r * math.cos(angle)), round(centre - r * math.sin(angle)))
        for r in range(38)
    }

    def pixel(x: int, y: int) -> int:
        ring = abs(math.hypot(x - centre, y - centre) - 44) < 2
        return 20 if ring or (x, y) in needle else 245

    raw = b"".join(b"\0" + bytes(pixel(x, y) for x in range(size)) for y in range(size))
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    for name, body in (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw, 9)),
        (b"IEND", b""),
    ):
        out.write(struct.pack(">I", len(body)) + name + body)
        out.write(struct.pack(">I", zlib.crc32(name + body)))
    return out.getvalue()


ALL: tuple[dict[str, Any], ...] = (
    {
        "make": inspection,
        "provider": "pengcheng-robotics",
        "name": "humanoid-inspection-zh",
        "title": "2026年广东省人形机器人巡检指令微调数据集",
        "title_en": "Humanoid inspection instructions, Guangdong 2026",
        "description": "一千五百条人形机器人巡检指令与应答，**训练集与测试集已划分**。\n\n"
        "Instructions and answers for humanoid inspection robots, split into train and test.",
        "keywords": ["人形机器人", "巡检", "指令微调", "humanoid", "robotics"],
        "stage": ["instruction_tuning"],
        "field": "embodied",
        "industry": "I65",
        "license": "CC-BY-4.0",
        "price": {"mode": "one_off", "unit": "份", "price_fen": 1_280_000, "currency": "CNY"},
        "sample": "sample",
    },
    {
        "make": preferences,
        "provider": "pengcheng-robotics",
        "name": "inspection-preference-zh",
        "undocumented": ("baseline", "cases", "limitations"),
        "title": "2026年广东省机器人安全偏好对比数据集",
        "title_en": "Robot safety preference pairs, Guangdong 2026",
        "description": "巡检安全问答的偏好对，用于强化学习与奖励模型。\n\n"
        "Preference pairs on safe behaviour, for reward models.",
        "keywords": ["偏好", "强化学习", "安全", "preference", "RLHF"],
        "stage": ["reinforcement_learning"],
        "field": "embodied",
        "industry": "I65",
        "license": "CC-BY-4.0",
        "price": {"mode": "one_off", "unit": "份", "price_fen": 680_000, "currency": "CNY"},
        "sample": "sample",
    },
    {
        "make": arithmetic,
        "provider": "lingnan-data",
        "name": "word-problems-bench",
        "undocumented": ("cases",),
        "title": "2026年全国中英算术应用题测评数据集",
        "title_en": "Bilingual word problems for evaluation, 2026",
        "description": "四百道中英文应用题，免费用于测评。\n\n"
        "Four hundred word problems in Chinese and English, free for evaluation.",
        "keywords": ["测评", "数学", "benchmark", "math"],
        "stage": ["evaluation"],
        "field": "education",
        "industry": "P83",
        "license": "CC0-1.0",
        "price": {"mode": "free", "currency": "CNY"},
        "sample": "benchmark",
    },
    {
        "make": charging,
        "provider": "lingnan-data",
        "name": "guangzhou-charging-load",
        "undocumented": ("annotation", "labels", "baseline", "evaluation"),
        "title": "2026年6月广州市充电站小时负荷数据集",
        "title_en": "Hourly load of charging stations, Guangzhou, June 2026",
        "description": "六个区充电站的小时负荷、会话数与可用状态（模拟数据）。\n\n"
        "Hourly load of charging stations in six districts (simulated).",
        "keywords": ["充电桩", "负荷", "时间序列", "EV", "time series"],
        "stage": ["pretraining"],
        "field": "energy",
        "industry": "D44",
        "license": "CC-BY-4.0",
        "price": {
            "mode": "subscription",
            "unit": "月",
            "price_fen": 98_000,
            "currency": "CNY",
            "min_qty": 1,
        },
        "sample": "sample",
        "modalities": ["time_series"],
        "spatial": ("city", ["440100"]),
    },
    {
        "make": trajectories,
        "provider": "pengcheng-robotics",
        "name": "seven-axis-trajectories",
        "title": "2026年深圳市七轴机械臂轨迹数据集",
        "title_en": "Trajectories of a seven-axis arm, Shenzhen 2026",
        "description": "三段仿真七轴机械臂的关节轨迹与夹爪状态。\n\n"
        "Joint trajectories of a simulated seven-axis arm, three episodes.",
        "keywords": ["具身智能", "轨迹", "机械臂", "embodied", "trajectory"],
        "stage": ["pretraining"],
        "field": "embodied",
        "industry": "C40",
        "license": "CC-BY-4.0",
        "price": {"mode": "negotiated", "currency": "CNY"},
        "sample": None,
        "modalities": ["time_series"],
        "spatial": ("city", ["440300"]),
    },
    {
        "make": tones,
        "provider": "pengcheng-robotics",
        "name": "machine-warning-tones",
        "title": "2026年广东省设备告警音频数据集",
        "title_en": "Warning tones of machines, Guangdong 2026",
        "description": "十二段设备告警音与标签。\n\nTwelve warning tones with labels.",
        "keywords": ["音频", "告警", "audio"],
        "stage": ["pretraining"],
        "field": "manufacturing",
        "industry": "C34",
        "license": "CC-BY-4.0",
        "price": {"mode": "one_off", "unit": "份", "price_fen": 50_000, "currency": "CNY"},
        "sample": "labels",
    },
    {
        "make": gauges,
        "provider": "lingnan-data",
        "name": "gauge-readings",
        "undocumented": ("support", "baseline", "cases", "distribution"),
        "title": "2026年广东省仪表读数图像数据集",
        "title_en": "Pictures of gauges with readings, Guangdong 2026",
        "description": "十二张仪表图像与读数，用于视觉读表。\n\nDrawn gauges with their readings.",
        "keywords": ["图像", "仪表", "image", "gauge"],
        "stage": ["pretraining"],
        "field": "manufacturing",
        "industry": "C40",
        "license": "CC-BY-4.0",
        "price": {"mode": "one_off", "unit": "份", "price_fen": 30_000, "currency": "CNY"},
        "sample": "readings",
    },
    {
        "make": manuals,
        "provider": "lingnan-data",
        "name": "maintenance-corpus-zh",
        "undocumented": ("annotation", "baseline"),
        "title": "2026年广东省设备检修文本语料",
        "title_en": "Maintenance texts for pre-training, Guangdong 2026",
        "description": "六百段设备检修文本，用于预训练。\n\nMaintenance texts for pre-training.",
        "keywords": ["语料", "检修", "预训练", "corpus"],
        "stage": ["pretraining"],
        "field": "manufacturing",
        "industry": "C34",
        "license": "CC-BY-4.0",
        "price": {"mode": "one_off", "unit": "份", "price_fen": 260_000, "currency": "CNY"},
        "sample": "sample",
    },
)


def folders(root: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Write every corpus below `root` and yield (its facts, its folder)."""
    for facts in ALL:
        folder = root / str(facts["name"])
        folder.mkdir(parents=True)
        facts["make"](folder)
        yield facts, folder
