"""A small robot as URDF: two turning joints, a sliding one that mimics, a gripper, and fixed links between."""

from __future__ import annotations

ARM = """<?xml version="1.0"?>
<robot name="two joints">
  <link name="world"/><link name="base"/><link name="upper"/><link name="lower"/><link name="flange"/>
  <link name="finger"/><link name="other_finger"/>
  <joint name="mount" type="fixed">
    <parent link="world"/><child link="base"/><origin xyz="0 0 0.1" rpy="0 0 1.5707963267948966"/>
  </joint>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><origin xyz="0 0 0.2" rpy="1.5707963267948966 0 0"/>
    <axis xyz="0 0 1"/><limit lower="-2" upper="2.5" velocity="1.5" effort="9"/>
  </joint>
  <joint name="elbow" type="continuous">
    <parent link="upper"/><child link="lower"/><origin xyz="0.4 0 0" rpy="0 0 0"/>
    <axis xyz="0 1 0"/><limit velocity="2" effort="9"/>
  </joint>
  <joint name="wrist" type="fixed"><parent link="lower"/><child link="flange"/><origin xyz="0.3 0 0.05"/></joint>
  <joint name="left_finger_joint" type="prismatic">
    <parent link="flange"/><child link="finger"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.04" velocity="0.2" effort="9"/>
  </joint>
  <joint name="right_finger_joint" type="prismatic">
    <parent link="flange"/><child link="other_finger"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.04" velocity="0.2" effort="9"/>
    <mimic joint="left_finger_joint"/>
  </joint>
</robot>
"""
