//! Lines as people log them: what each looks like afterwards.

use steeple_scrub::Scrubber;

#[track_caller]
fn becomes(cases: &[(&str, &str)]) {
    let scrubber = Scrubber::default();
    let seen: Vec<_> = cases.iter().map(|(line, _)| (*line, scrubber.text(line).to_string())).collect();
    let want: Vec<_> = cases.iter().map(|(line, want)| (*line, (*want).to_owned())).collect();
    assert_eq!(seen, want);
}

#[track_caller]
fn stays(lines: &[&str]) {
    let scrubber = Scrubber::default();
    let changed: Vec<_> = lines.iter().map(|line| scrubber.text(line)).filter(|seen| !seen.is_clean()).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn values_are_found_after_every_assignment() {
    becomes(&[
        ("DB_PASSWORD ?= x", "DB_PASSWORD ?= [redacted:key]"),
        ("DB_PASSWORD ?= \"a b\" # default", "DB_PASSWORD ?= \"[redacted:key]\" # default"),
        ("TOKEN += x9", "TOKEN += [redacted:key]"),
        ("API_KEY ::= x9", "API_KEY ::= [redacted:key]"),
        ("password       = \"rootpasswd\"", "password       = \"[redacted:key]\""),
        ("token2 = \"x9\"", "token2 = \"[redacted:key]\""),
        ("BUNDLE_GEMS__CONTRIBSYS__COM=cafebabe:deadbeef", "BUNDLE_GEMS__CONTRIBSYS__COM=[redacted:key]"),
        ("SONAR.LOGIN ?= \"12345678ABCDEFH1\"", "SONAR.LOGIN ?= \"[redacted:key]\""),
        ("API_KEY :::= x9", "API_KEY :::= [redacted:key]"),
        ("password .= 'x';", "password .= '[redacted:key]';"),
        ("$password.=\"x\";", "$password.=\"[redacted:key]\";"),
        ("$secret ??= \"x9\";", "$secret ??= \"[redacted:key]\";"),
        ("@api_key ||= 'x9'", "@api_key ||= '[redacted:key]'"),
        ("password := `x`", "password := `[redacted:key]`"),
        ("\"password\" => \"x\",", "\"password\" => \"[redacted:key]\","),
        ("password: |\n  a1\n  b2\nuser: ann", "password: |\n  [redacted:key]\nuser: ann"),
        ("password: >-\n  a1\n", "password: >-\n  [redacted:key]\n"),
    ]);
    stays(&["a ?= b", "total += 5", "name .= 'x'", "x ::= y", "token == expected", "key: |\n  some text\n", "kind: |"]);
}

#[test]
fn values_are_found_behind_a_type() {
    becomes(&[
        ("let password: &str = \"x\";", "let password: &str = \"[redacted:key]\";"),
        ("const password: &'static str = \"x\";", "const password: &'static str = \"[redacted:key]\";"),
        ("let apiToken: String = \"x\"", "let apiToken: String = \"[redacted:key]\""),
        ("let token: string = \"x\";", "let token: string = \"[redacted:key]\";"),
        ("token: string | null = 'x';", "token: string | null = '[redacted:key]';"),
        ("val secret: kotlin.String? = \"x\"", "val secret: kotlin.String? = \"[redacted:key]\""),
        ("api_key: Optional[str] = 'x'", "api_key: Optional[str] = '[redacted:key]'"),
        ("password: std::string::String = x9", "password: std::string::String = [redacted:key]"),
        ("var token string = \"x9\"", "var token string = \"[redacted:key]\""),
    ]);
    stays(&["let name: &str = \"x\";", "timeout: u64 = 5", "signature: fn main() -> u8 = 3"]);
}

#[test]
fn values_are_found_beside_their_names() {
    becomes(&[
        ("(\"password\", \"x\")", "(\"password\", \"[redacted:key]\")"),
        ("[\"authorization\",\"x\"]", "[\"authorization\",\"[redacted:key]\"]"),
        ("[(\"user\",\"a\"),(\"password\",\"x\")]", "[(\"user\",\"a\"),(\"password\",\"[redacted:key]\")]"),
        ("[('user', 'a'), ('password', 'x')]", "[('user', 'a'), ('password', '[redacted:key]')]"),
        ("setProperty(\"db.password\",\"x\")", "setProperty(\"db.password\",\"[redacted:key]\")"),
        ("put(\"api_key\", \"x\", 30)", "put(\"api_key\", \"[redacted:key]\", 30)"),
        ("{\"name\":\"password\",\"value\":\"x\"}", "{\"name\":\"password\",\"value\":\"[redacted:key]\"}"),
        ("{\"value\":\"x\",\"name\":\"password\"}", "{\"value\":\"[redacted:key]\",\"name\":\"password\"}"),
        ("Header { name: \"x-api-key\", value: \"x\" }", "Header { name: \"x-api-key\", value: \"[redacted:key]\" }"),
        (
            "{\\\"key\\\":\\\"token\\\",\\\"value\\\":\\\"x\\\"}",
            "{\\\"key\\\":\\\"token\\\",\\\"value\\\":\\\"[redacted:key]\\\"}",
        ),
        ("<input name=\"password\" value=\"x\">", "<input name=\"password\" value=\"[redacted:key]\">"),
        ("<input value='x' name='password'>", "<input value='[redacted:key]' name='password'>"),
        ("<meta name=\"csrf-token\" content=\"x\" />", "<meta name=\"csrf-token\" content=\"[redacted:key]\" />"),
        ("<add key=\"DbPassword\" value=\"x\" />", "<add key=\"DbPassword\" value=\"[redacted:key]\" />"),
        ("- name: API_TOKEN\n  value: x9\n", "- name: API_TOKEN\n  value: [redacted:key]\n"),
        ("<key>password</key>\n<string>x</string>", "<key>password</key>\n<string>[redacted:key]</string>"),
    ]);
    stays(&[
        "missing: [\"password\", \"email\", \"name\"]",
        "(\"user\", \"ann\")",
        "assert_eq!(\"a\", \"b\")",
        "{\"name\":\"color\",\"value\":\"blue\"}",
        "<input name=\"color\" value=\"blue\">",
        "{\"name\":\"password\"},{\"name\":\"color\",\"value\":\"blue\"}",
        "<input name=\"password\" type=\"password\">",
        "- name: LEVEL\n  value: debug\n",
        "<key>color</key><string>blue</string>",
    ]);
}

#[test]
fn the_text_of_elements_goes_and_harmless_attributes_stay() {
    becomes(&[
        ("<wsse:Password Type=\"T\">x</wsse:Password>", "<wsse:Password Type=\"T\">[redacted:key]</wsse:Password>"),
        ("<apiKey id=\"1\">x</apiKey>", "<apiKey id=\"1\">[redacted:key]</apiKey>"),
        ("<s:apiKey id='1' a=\">\">x</s:apiKey>", "<s:apiKey id='1' a=\">\">[redacted:key]</s:apiKey>"),
        ("<password><![CDATA[x<y]]></password>", "<password><![CDATA[[redacted:key]]]></password>"),
        ("<password>\n  x\n</password>", "<password>[redacted:key]</password>"),
        ("&lt;password&gt;hunter2", "&lt;password&gt;[redacted:key]"),
        ("&lt;password&gt;x&lt;/password&gt;", "&lt;password&gt;[redacted:key]&lt;/password&gt;"),
        ("<user password=\"x\">ann</user>", "<user password=\"[redacted:key]\">ann</user>"),
    ]);
    stays(&[
        "<user id=\"1\">ann</user>",
        "HashMap<Token, Secret>",
        "Vec<Token> has 3 items",
        "usage: login <user>:<password> host",
        "usage: login --token <token> now",
        "<password/>",
        "<password></password>",
        "<token type=\"x\"/> <b>",
    ]);
}

#[test]
fn credentials_are_found_among_the_options_of_commands() {
    becomes(&[
        ("curl --user a:hunter2 https://x.example", "curl --user [redacted:userinfo] https://x.example"),
        ("curl --user=a:hunter2 https://x.example", "curl --user=[redacted:userinfo] https://x.example"),
        ("curl -ua:hunter2 https://x.example", "curl -u[redacted:userinfo] https://x.example"),
        ("curl -u 'a:hunter2' https://x.example", "curl -u [redacted:userinfo] https://x.example"),
        ("sshpass -p hunter2 ssh ann@host", "sshpass -p [redacted:key] ssh ann@host"),
        ("sshpass -phunter2 ssh ann@host", "sshpass -p[redacted:key] ssh ann@host"),
        ("docker login -u ann -p hunter2 host", "docker login -u ann -p [redacted:key] host"),
        ("helm registry login host -p \"hunter2\"", "helm registry login host -p \"[redacted:key]\""),
        ("redis-cli -h host -a hunter2 ping", "redis-cli -h host -a [redacted:key] ping"),
        ("mysql -uroot -phunter2 shop", "mysql -uroot -p[redacted:key] shop"),
        ("mysqldump -h host -phunter2 shop", "mysqldump -h host -p[redacted:key] shop"),
        ("ldapsearch -D cn=x -w hunter2", "ldapsearch -D cn=x -w [redacted:key]"),
        ("machine host login ann password hunter2", "machine host login ann password [redacted:key]"),
        ("machine host\n  login ann\n  password hunter2", "machine host\n  login ann\n  password [redacted:key]"),
    ]);
    stays(&[
        "docker run -p 80:80 image",
        "docker run -u 1000:1000 image",
        "ssh -p 22 host",
        "mysql -u root -p shop",
        "mkdir -p /srv/app",
        "ps -p 17 -o comm",
        "curl -u ann https://x.example",
        "curl -u \"$USER:$PASSWORD\" https://x.example",
        "curl -u \"${user}:${password}\" https://x.example",
        "login to change the password now",
        "grep -w token -a file",
    ]);
}

#[test]
fn parts_of_forms_and_grants_go() {
    let scrubber = Scrubber::default();
    becomes(&[
        (
            "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter 2\r\n--b--",
            "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n[redacted:key]\r\n--b--",
        ),
        (
            "Content-Disposition: form-data; name=\"token\"\nContent-Type: text/plain\n\nx9\n--b\n",
            "Content-Disposition: form-data; name=\"token\"\nContent-Type: text/plain\n\n[redacted:key]\n--b\n",
        ),
        (r#"form-data; name=\"pin\"\r\n\r\n4711\r\n--b"#, r#"form-data; name=\"pin\"\r\n\r\n[redacted:key]\r\n--b"#),
    ]);
    stays(&["Content-Disposition: form-data; name=\"color\"\r\n\r\nblue\r\n--b--"]);
    for code in ["SplxlOBeZQQYbYS6WxSbIA", "qWErTYuIOpASdFGhJkLzXc", "AbCDeFgHIjKLmNoPQrsTUv"] {
        assert_eq!(scrubber.query(&format!("code={code}&state=open")), "code=[redacted:entropy]&state=open");
        assert_eq!(scrubber.text(&format!("/cb?code={code}&a=1")), "/cb?code=[redacted:entropy]&a=1");
    }
    for query in
        ["code=404", "code=DE", "code=E1234", "code=InvalidParameterValueException", "state=internationalization"]
    {
        assert_eq!(scrubber.query(query), query);
    }
}

#[test]
fn passwords_are_known_in_other_languages() {
    let scrubber = Scrubber::default();
    for name in [
        "contraseña",
        "Contraseña",
        "contrasena",
        "senha",
        "Senha",
        "clave",
        "wachtwoord",
        "hasło",
        "haslo",
        "parola",
        "пароль",
        "Пароль",
        "密码",
        "密碼",
        "パスワード",
        "비밀번호",
        "kennwort",
        "passwort",
        "mot_de_passe",
        "lösenord",
        "şifre",
        "jelszó",
        "user_senha",
        "db.пароль",
    ] {
        for text in [format!("{name}=hunter2"), format!("\"{name}\": \"hunter2\""), format!("{name}: hunter2")] {
            assert!(!scrubber.text(&text).contains("hunter2"), "{text} -> {}", scrubber.text(&text));
        }
        assert_eq!(scrubber.field(name, "hunter2"), "[redacted:key]", "{name}");
        assert_eq!(scrubber.query(&format!("{name}=hunter2")), format!("{name}=[redacted:key]").as_str());
    }
    stays(&["größe: 17", "имя: ann", "名前=ann", "clave: primaria", "autoclave=on", "desenha=1"]);
    let lenient = Scrubber::builder().except_keys(["contraseña"]).build().unwrap();
    assert_eq!(lenient.field("contraseña", "hunter2"), "hunter2");
}

#[test]
fn what_only_looks_like_a_secret_by_its_name_stays() {
    stays(&[
        "pwd: /home/ann",
        "PWD=/srv/app",
        "OLDPWD=/srv/app-1.2/x_y",
        "pwd=C:/Users/ann",
        "{\"pwd\":\"/home/ann\"}",
        "authorization: denied",
        "Authorization: denied for user 7",
        "DELETE FROM secrets WHERE id = 7",
        "UPDATE tokens SET id = 7",
        "SELECT 1 FROM credentials WHERE key = 'a'",
    ]);
    becomes(&[
        ("pwd: hunter2", "pwd: [redacted:key]"),
        ("pwd=/a$b", "pwd=[redacted:key]"),
        ("db_pwd=/srv/app", "db_pwd=[redacted:key]"),
        ("Authorization: Basic abc", "Authorization: [redacted:key]"),
        ("authorization: s3cret", "authorization: [redacted:key]"),
        ("secret id = abc", "secret id = [redacted:key]"),
    ]);
    let scrubber = Scrubber::default();
    assert_eq!(scrubber.field("PWD", "/srv/app"), "/srv/app");
    assert_eq!(scrubber.field("PWD", "hunter2"), "[redacted:key]");
}

#[test]
fn a_bots_url_is_kept() {
    let scrubber = Scrubber::default();
    let token = ["123456789:A", "AHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"].concat();
    let url = format!("https://api.telegram.org/bot{token}/sendMessage?chat_id=7");
    for seen in [scrubber.url(&url), scrubber.text(&url), scrubber.path(&format!("/bot{token}/sendMessage"))] {
        assert!(!seen.contains("AHdqTcvCH1"), "{seen}");
        assert!(seen.contains("/sendMessage"), "{seen}");
    }
}
