//! A terminal of the container's own.

use crate::tests;
use crate::world::World;
use std::os::fd::OwnedFd;
use tug_runtime::{Running, Stdio, cgroup};

tests![
    it_is_the_controlling_terminal_with_its_size,
    it_belongs_to_the_user,
    the_console_is_the_terminal,
    it_can_be_resized,
    interrupts_reach_the_foreground,
];

/// Everything until the other end is closed.
pub(crate) fn read(master: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => break,
            Ok(size) => text.extend_from_slice(&buffer[..size]),
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(text).unwrap()
}

fn start(world: &mut World) -> Running {
    world.spec.process.terminal = true;
    world.spec.process.terminal_size = Some((40, 120));
    tug_runtime::spawn(&world.spec, Stdio::Terminal).unwrap().start().unwrap()
}

fn finish(world: &World, running: &Running) -> (i32, String) {
    let text = read(running.terminal.as_ref().unwrap()).replace('\r', "");
    let code = running.wait().unwrap();
    cgroup::remove(&world.spec.id, crate::world::PARENT).unwrap();
    (code, text)
}

fn it_is_the_controlling_terminal_with_its_size() {
    let mut world = World::new(
        "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo x > /dev/tty",
    );
    let running = start(&mut world);
    assert_eq!(finish(&world, &running), (0, "/dev/pts/0\n40 120\nall\nx\n".to_owned()));
}

fn it_belongs_to_the_user() {
    let mut world = World::new("stat -c '%u %g %a' /dev/pts/0; echo again > /dev/stdout; id -u");
    world.spec.process.user = "1234".to_owned();
    let running = start(&mut world);
    assert_eq!(finish(&world, &running).1, "1234 5 620\nagain\n1234\n");
}

fn the_console_is_the_terminal() {
    let mut world = World::new("stat -c %t:%T /dev/console /dev/pts/0; echo hello > /dev/console");
    let running = start(&mut world);
    assert_eq!(finish(&world, &running).1, "88:0\n88:0\nhello\n");
}

fn it_can_be_resized() {
    let mut world =
        World::new("trap 'stty size; exit' WINCH; echo up; while :; do usleep 1000; done");
    let running = start(&mut world);
    let master = running.terminal.as_ref().unwrap();
    let mut buffer = [0; 16];
    assert!(rustix::io::read(master, &mut buffer).unwrap() > 0);
    let size = rustix::termios::Winsize { ws_row: 10, ws_col: 20, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size).unwrap();
    let (code, text) = finish(&world, &running);
    assert_eq!((code, text.contains("10 20")), (0, true), "{text}");
}

fn interrupts_reach_the_foreground() {
    for init in [false, true] {
        let mut world =
            World::new("trap 'echo caught; exit 3' INT; echo up; while :; do usleep 1000; done");
        world.spec.init = init;
        let running = start(&mut world);
        let master = running.terminal.as_ref().unwrap();
        let mut buffer = [0; 16];
        assert!(rustix::io::read(master, &mut buffer).unwrap() > 0);
        rustix::io::write(master, &[3]).unwrap();
        let (code, text) = finish(&world, &running);
        assert_eq!((code, text.contains("caught")), (3, true), "init {init}: {text}");
    }
}
