#[test] fn unit() {}
