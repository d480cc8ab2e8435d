"""Words that belong together, in English and Russian: so that a few examples speak for many words and both languages.

This is general knowledge of the two languages, not of any role: a role is described by its examples alone, and an
owner's own role about cooking or law gains as much as a shipped one. A ``*`` at the end stands for any ending.
"""

from __future__ import annotations

_CONCEPTS = {
    "programming": (
        "python java javascript typescript sql html css rust golang kotlin php code* coding код кода коде program* "
        "програм* function* функци* script* скрипт* bug* баг баги debug* отлад* compil* компил* class* класс* method* "
        "метод* array* массив* database* базе базы api docker* kubernetes git github regex* регуляр* exception* "
        "исключени* crash* server* сервер* algorithm* алгоритм* loop* цикл* variable* переменн* linux bash query* "
        "запрос* refactor* рефактор* librar* библиотек* react node commit* коммит* json xml http* file* файл* folder* "
        "папк* software приложени* app website* сайт* browser* браузер* terminal* install* установ* deploy* test* "
        "тест* string* строк* list* список* object* pointer* null async* deadlock* cache* endpoint* frontend backend"
    ),
    "failing": (
        "error* ошибк* fail* fall* падает сломал* broken crash* wrong problem* проблем* bug* баг fix* исправ* почини* "
        "repair* зависа* throws debug*"
    ),
    "mathematics": (
        "solve* реши решите решение calculat* comput* посчита* вычисл* probabilit* вероятн* prove* proof* докаж* "
        "доказа* equation* уравнен* систем* percent* процент* sum сумм* speed* скорост* average* средн* triangle* "
        "треугольник* angle* угл* угол* formula* формул* number* числ* integral* matrix матриц* root корень корня "
        "divide* multipl* odd even чётн* четн* прост* theorem* теорем*"
    ),
    "quantity": (
        "km км hour* час часа часов часы minute* минут* metre* meter* метр* kg кг kilogram* litre* литр* day days "
        "день дней week* недел* month* месяц* year* год года лет dollar* руб* rub euro* pipe* train* поезд*"
    ),
    "logic": (
        "puzzle* riddle* загадк* головоломк* logic* логич* логик* step* шаг* assume* предполож* given дано follows "
        "следует conclu* вывод* вывода deduc* therefore either necessarily weigh* lamp* coin* монет* box* сундук*"
    ),
    "deciding": (
        "choose* choice* выбра* выбор* выбрать compar* сравн* better лучше выгод* decid* decision* решени* should "
        "стоит option* вариант* offer* plan* план плана schedule* расписани* organi* budget* бюджет* advantage* "
        "преимуществ* trade* cheaper дешевле strateg* стратеги*"
    ),
    "causes": (
        "why почему reason* причин* cause* hypothes* гипотез* explain* объясн* because happen* происход* differ* "
        "отлич* разниц* расход*"
    ),
    "people-asked": "who whom кто кого",
    "time-asked": "when когда",
    "place-asked": "where где",
    "amount-asked": "many much сколько long far",
    "thing-asked": "which какая какой какое какие что what",
    "facts": (
        "capital* столиц* river* рек* mountain* гор* planet* планет* country стран* city город* ocean* океан* "
        "population населени* president* президент* king* корол* war войн* invent* изобре* discover* откры* born "
        "родил* wrote написал* author* автор* painted found* основан* symbol* символ* tallest longest largest biggest "
        "самая самый самое calorie* калори* temperature* температур* weigh* весит boil* кип* chemical*"
    ),
    "meaning-of-a-word": (
        "mean means meant значит означа* abbreviat* аббревиатур* acronym* stands definition* defin* определ* term* "
        "термин*"
    ),
    "brevity": (
        "brief* short* коротк* кратк* word sentence* предложени* один одним одной one line quick* быстр* just yes no"
    ),
    "meaning": (
        "meaning* смысл* life* жизн* жить live* death* смерт* die умере* умира* purpose* зачем fate судьб* eternal* "
        "вечн* world мир мира мире nothing ничто something"
    ),
    "ethics": (
        "moral* морал* нравствен* ethic* этик* lie lying лгать ложь лжи солгать honest* честно честн* justice "
        "справедлив* fair* right rights право права wrong duty долг должен owe* guilt* вин* forgive* прости* good "
        "evil добр* зло зла зле virtue* conscience совест* deed* поступ* оправда* justif* sacrific* жертв* judge* "
        "судить friend* друг друга protect* спас*"
    ),
    "mind": (
        "free* свобод* will воля воли conscious* сознан* mind* разум* soul* душ* self сам самим identity личност* "
        "exist* существ* reality реальн* truth* истин* правд* happ* счаст* love* любов* любви beaut* красот* god бог "
        "бога believe* вер* knowledge знани* human* человек* людей люди machine* progress прогресс* afraid страх* "
        "боят* бояться"
    ),
    "translation": (
        "translat* перев* equivalent* idiom* идиом* literal* literary дословн* литературн* subtitle* субтитр*"
    ),
    "languages": (
        "english английск* russian русск* русски английски german* немецк* french французск* spanish испанск* chinese "
        "китайск* language* язык* say сказать скажи phrase* фраз* expression* выражени* word* слов*"
    ),
    "texts": (
        "text* текст* article* стать* essay* эссе letter* письм* email* mail почт* report* отчёт* отчет* paper* book* "
        "книг* chapter* глав* draft* черновик* story рассказ* note* замет* poem* стих* document* документ* договор* "
        "contract* paragraph* абзац* page* страниц* transcript* menu меню manuscript* рукопис* post пост résumé cv "
        "резюме cover review* thesis диплом* lecture* лекци* conversation* переписк* thread* below ниже"
    ),
    "projects": (
        "project* проект* proposal* предложени* idea* иде* startup* стартап* business бизнес* plan* план плана pitch* "
        "presentation* презентац* experiment* эксперимент* argument* аргумент* reasoning рассужд* design* solution* "
        "решени* стратеги*"
    ),
    "reviewing": (
        "review* рецензи* critic* critiqu* критик* раскритик* weak* слаб* mistake* ошиб* feedback отзыв* risk* риск* "
        "wrong неверн* flaw* недостат* improv* улучш* check* провер* honest* честн* assess* оцен* evaluat* objection* "
        "возраж* convinc* убед* hole* fault* bad плохо плох* fail* harsh* strict* строг* против against fund "
        "opponent* missed упусти* trust верить доверя* judge* point"
    ),
    "shortening": (
        "summar* shorten* сократ* сожм* сжат* перескаж* пересказ* конспект* выжимк* main главн* gist суть тезис* "
        "points key ключев* outline* abstract* condens* about протокол* minutes meeting* совещан* встреч* takeaway* "
        "finding* вывод* decided решили выдели выпиши tl dr tldr digest* extract* overview bullet* пункт*"
    ),
    "writing": (
        "write* writing напиш* написать compose* сочин* create* созда* придума* invent make сделай составь draft* "
        "show покажи give дай"
    ),
    "greeting": "hello hi hey привет* здравств* добрый thank* thanks спасибо bye пока",
    "fiction": (
        "story stories tale* сказк* joke* анекдот* шутк* poem* стихотворени* toast* тост* поздравл* birthday* юбиле* "
        "song* песн* novel* роман* character* персонаж* dragon* дракон* detective hero* геро* game* игр* поигра* name "
        "назвать"
    ),
    "feelings": (
        "feel* чувств* sad груст* lonely одинок* tired устал* angry злюсь afraid тревож* anxious love* скуча* miss "
        "relationship* отношени* mother* мам* father* отец отца"
    ),
    "food": (
        "cook* готов* пригото* recipe* рецепт* dish* блюд* bake* выпеч* soup* суп* dinner ужин* lunch breakfast "
        "завтрак* chicken куриц* potato* картош* sugar сахар* oven духовк* taste вкус* vegetable* овощ*"
    ),
    "health": (
        "doctor* врач* hospital* больниц* pain* боль болит medic* лекарств* disease* болезн* symptom* симптом* diet* "
        "диет* sleep* сон vitamin* витамин* blood кров* pressure давлени* fever exercise*"
    ),
    "law": (
        "law* закон* court* суд суде lawyer* юрист* адвокат* legal* illegal* договор* contract* licence* license* "
        "лиценз* tax* налог* fine штраф* police* полици* regulation*"
    ),
    "money": (
        "money деньг* денег price* цен* cost* стоит salary* зарплат* loan* кредит* mortgage* ипотек* bank* банк* "
        "invest* инвест* interest rent* аренд* buy* купи* sell* прода* sales продаж* expens* расход* inflation "
        "инфляц* deposit* вклад*"
    ),
    "travel": (
        "travel* путешеств* trip* поездк* flight* рейс* ticket* билет* hotel* отел* visa* виз* tourist* museum* музе* "
        "beach* пляж* airport* аэропорт* holiday* отпуск*"
    ),
    "arts": (
        "film* фильм* movie* кино music* музык* painting* картин* theatre* театр* actor* актёр* актер* album* band "
        "recommend* посовету* series сериал*"
    ),
    "science": (
        "physic* физик* chemi* хими* biolog* биолог* atom* атом* energy энерг* gravity cell клетк* gene* ген* species "
        "evolution эволюц* star* звезд* space космос* light свет* molecule*"
    ),
    "home": (
        "house* дом дома flat квартир* apartment* room* комнат* kitchen* кухн* garden* сад сада furniture мебел* "
        "repair ремонт* clean* убор* wash* стир* moving переезд*"
    ),
    "animals": "cat cats кот кошк* dog dogs собак* bird* птиц* fish рыб* horse* лошад* parrot* попуга* animal* животн*",
}


def _read() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    whole: dict[str, list[str]] = {}
    begun: dict[str, list[str]] = {}
    for concept, words in _CONCEPTS.items():
        for word in words.replace("ё", "е").split():
            table, key = (begun, word[:-1]) if word.endswith("*") else (whole, word)
            if concept not in table.setdefault(key, []):
                table[key].append(concept)
    return {key: tuple(found) for key, found in whole.items()}, {key: tuple(found) for key, found in begun.items()}


_WHOLE, _BEGUN = _read()
_SHORTEST, _LONGEST = min(map(len, _BEGUN)), max(map(len, _BEGUN))


def concepts(word: str) -> tuple[str, ...]:
    """The concepts of a word in its `plain` form: by the word itself, else by the longest beginning that is known."""
    found = _WHOLE.get(word)
    if found is not None:
        return found
    for size in range(min(len(word), _LONGEST), _SHORTEST - 1, -1):
        found = _BEGUN.get(word[:size])
        if found is not None:
            return found
    return ()
