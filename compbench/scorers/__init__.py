"""Who answers each question of the benchmark: BLIP-VQA, UniDet in the plane, in depth and to count, CLIPScore."""
