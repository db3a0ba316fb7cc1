//! One exchange, many observers: watches every request through a tower stack and says how it ended.
