"""The tabletop as MJCF: a UR5e of primitive shapes on datasheet kinematics, a gripper, three blocks, a drawer.

Flat light, no shadows and few faces: two 64x64 cameras render in a few milliseconds on one CPU core.
"""

from __future__ import annotations

import math

from vla_ros.sim.tabletop.ur5e import DH_A, DH_ALPHA, DH_D

COLOURS = {"red": "0.85 0.12 0.12", "green": "0.1 0.65 0.15", "blue": "0.12 0.25 0.9"}
ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
BLOCK_HALF = 0.02  # half the side of a block [m]
FINGER_TRAVEL = 0.04  # how far each finger opens [m]
HANDLE = (0.62, 0.0, 0.10)  # the closed drawer's handle [m]
DRAWER_TRAVEL = 0.16  # [m]
TIMESTEP_S = 0.002
GHOST = 'contype="0" conaffinity="0"'  # seen, never touched

_MASSES = (3.7, 8.4, 2.3, 1.2, 1.2, 0.25)  # kg, links 1 to 6, datasheet rounded
_STIFFNESS = (6000, 6000, 5000, 2000, 2000, 1000)  # N m / rad; the lag stays below 30 ms
_FORCE = (150, 150, 150, 28, 28, 28)  # N m, datasheet
_LIMITS = ("-6.28319 6.28319", "-6.28319 6.28319", "-3.14159 3.14159", *("-6.28319 6.28319",) * 3)
_RADII = (0.055, 0.05, 0.042, 0.038, 0.038, 0.036)


def _link(index: int, inner: str) -> str:
    """Body `index`, placed by the previous joint's transform, moving about its own z axis."""
    previous = index - 1
    place = (
        ""
        if index == 0
        else (
            f'pos="{DH_A[previous]} 0 {DH_D[previous]}" '
            f'quat="{math.cos(DH_ALPHA[previous] / 2)} {math.sin(DH_ALPHA[previous] / 2)} 0 0"'
        )
    )
    end = f"{DH_A[index]} 0 {DH_D[index]}"
    colour = "0.35 0.5 0.68 1" if index % 2 else "0.72 0.74 0.76 1"
    return (
        f'<body name="link_{index + 1}" {place} gravcomp="1">'
        f'<joint name="{ARM_JOINTS[index]}" range="{_LIMITS[index]}" armature="0.1" damping="2"/>'
        f'<geom type="capsule" fromto="0 0 0 {end}" size="{_RADII[index]}" mass="{_MASSES[index]}" rgba="{colour}" '
        f"{GHOST}/>{inner}</body>"
    )


_HAND = f"""
<body name="hand" pos="0 0 {DH_D[5]}" gravcomp="1">
  <geom type="box" pos="0 0 0.04" size="0.02 0.055 0.035" mass="0.6" rgba="0.2 0.2 0.22 1" contype="2" conaffinity="1"/>
  <site name="tip" pos="0 0 0.145" size="0.004" rgba="1 1 1 0"/>
  <camera name="wrist" pos="0.085 0 0.03" xyaxes="0 1 0 0.86 0 0.5" fovy="70"/>
  <body name="finger_left" pos="0 0.008 0.11" gravcomp="1">
    <joint name="finger_left" type="slide" axis="0 1 0" range="0 {FINGER_TRAVEL}" armature="0.02" damping="10"/>
    <geom class="finger" type="box" size="0.012 0.008 0.045"/>
  </body>
  <body name="finger_right" pos="0 -0.008 0.11" gravcomp="1">
    <joint name="finger_right" type="slide" axis="0 -1 0" range="0 {FINGER_TRAVEL}" armature="0.02" damping="10"/>
    <geom class="finger" type="box" size="0.012 0.008 0.045"/>
  </body>
</body>"""


def _arm() -> str:
    inner = _HAND
    for index in reversed(range(6)):
        inner = _link(index, inner)
    return (
        f'<body name="base" quat="0 0 0 1"><geom type="cylinder" size="0.075 0.05" pos="0 0 0.05" '
        f'rgba="0.3 0.3 0.32 1" {GHOST}/>{inner}</body>'
    )


def _blocks() -> str:
    return "".join(
        f'<body name="{name}" pos="0.4 0 {BLOCK_HALF}"><freejoint name="{name}"/>'
        f'<geom type="box" size="{BLOCK_HALF} {BLOCK_HALF} {BLOCK_HALF}" mass="0.08" rgba="{rgb} 1" '
        f'friction="0.9 0.01 0.001" condim="4"/></body>'
        for name, rgb in COLOURS.items()
    )


def _drawer() -> str:
    x, y, z = HANDLE
    return f"""
<body name="cabinet" pos="{x + 0.12} {y} 0">
  <geom type="box" pos="0.02 0 0.03" size="0.08 0.11 0.03" rgba="0.45 0.33 0.22 1"/>
  <geom type="box" pos="0.02 0 0.15" size="0.08 0.11 0.01" rgba="0.45 0.33 0.22 1"/>
  <geom type="box" pos="0.02 0.1 0.1" size="0.08 0.01 0.04" rgba="0.45 0.33 0.22 1" {GHOST}/>
  <geom type="box" pos="0.02 -0.1 0.1" size="0.08 0.01 0.04" rgba="0.45 0.33 0.22 1" {GHOST}/>
  <body name="drawer" pos="-0.065 0 {z}">
    <joint name="drawer" type="slide" axis="-1 0 0" range="0 {DRAWER_TRAVEL}" damping="8" frictionloss="1.5"
           armature="0.3"/>
    <geom type="box" size="0.006 0.085 0.035" mass="0.4" rgba="0.78 0.62 0.4 1"/>
    <geom type="box" pos="0.06 0 -0.03" size="0.06 0.08 0.004" mass="0.2" rgba="0.7 0.55 0.35 1" {GHOST}/>
    <geom name="handle" type="capsule" fromto="-0.055 -0.04 0 -0.055 0.04 0" size="0.006" mass="0.05"
          rgba="0.95 0.8 0.1 1"/>
    <geom type="capsule" fromto="-0.055 -0.04 0 0 -0.04 0" size="0.005" mass="0.02" rgba="0.95 0.8 0.1 1" {GHOST}/>
    <geom type="capsule" fromto="-0.055 0.04 0 0 0.04 0" size="0.005" mass="0.02" rgba="0.95 0.8 0.1 1" {GHOST}/>
    <site name="handle" pos="-0.055 0 0" size="0.004" rgba="1 1 1 0"/>
  </body>
</body>"""


def _actuators() -> str:
    arm = "".join(
        f'<position name="{name}" joint="{name}" kp="{kp}" dampratio="1" ctrlrange="{limits}" '
        f'forcerange="-{force} {force}"/>'
        for name, kp, force, limits in zip(ARM_JOINTS, _STIFFNESS, _FORCE, _LIMITS, strict=True)
    )
    fingers = "".join(
        f'<position name="finger_{side}" joint="finger_{side}" kp="600" kv="30" ctrlrange="0 {FINGER_TRAVEL}" '
        f'forcerange="-25 25"/>'
        for side in ("left", "right")
    )
    return arm + fingers


def mjcf() -> str:
    """The whole scene as an MJCF document."""
    return f"""
<mujoco model="vla_ros tabletop">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <visual>
    <headlight ambient="0.55 0.55 0.55" diffuse="0.45 0.45 0.45" specular="0 0 0"/>
    <quality shadowsize="0" offsamples="0" numslices="12" numstacks="6" numquads="1"/>
    <global offwidth="1280" offheight="960"/>
    <map znear="0.02" zfar="10"/>
  </visual>
  <default>
    <default class="finger">
      <geom mass="0.06" rgba="0.92 0.92 0.92 1" contype="2" conaffinity="1" friction="1.5 0.02 0.001" condim="4"
            solimp="0.95 0.99 0.001"/>
    </default>
  </default>
  <asset>
    <texture type="skybox" builtin="flat" rgb1="0.93 0.94 0.96" rgb2="0.93 0.94 0.96" width="8" height="8"/>
  </asset>
  <worldbody>
    <light directional="true" pos="0 0 3" dir="0.2 0.1 -1" diffuse="0.25 0.25 0.25" specular="0 0 0"
           castshadow="false"/>
    <geom name="table" type="box" pos="0.4 0 -0.02" size="0.6 0.5 0.02" rgba="0.86 0.84 0.8 1" contype="3"
          conaffinity="3" friction="0.6 0.01 0.001"/>
    <camera name="front" pos="1.0 0 0.8" xyaxes="0 1 0 -0.824 0 0.567" fovy="37"/>
    <camera name="overview" pos="0.15 -1.05 0.85" xyaxes="0.968 -0.249 0 0.144 0.56 0.814" fovy="33"/>
    {_arm()}
    {_blocks()}
    {_drawer()}
  </worldbody>
  <actuator>{_actuators()}</actuator>
</mujoco>"""
